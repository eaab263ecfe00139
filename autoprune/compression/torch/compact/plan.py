"""A compact model as a record: which layer keeps which of its channels. It is JSON in a file, and applies to any
fresh model of the same class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.compact.agreement import Flags
from autoprune.compression.torch.compact.graph import Graph
from autoprune.compression.torch.compact.kinds import Side, convolution_groups
from autoprune.compression.torch.compact.limits import HEADS, WIDTHS, Heads, Limits, is_count

_ATTRIBUTE = "_autoprune_plan"
FORMAT = "autoprune-compact-1"


@dataclass(frozen=True)
class Kept:
    """Which of how many channels stay."""

    of: int
    channels: tuple[int, ...]

    def then(self, later: Kept) -> Kept:
        return Kept(self.of, tuple(self.channels[channel] for channel in later.channels))


@dataclass(frozen=True)
class Layer:
    """What stays of a layer: of each side, or of a dimension of a parameter that is a layer's own.

    `groups` is how many a convolution had, if it had several.
    """

    sides: Mapping[Side, Kept] = field(default_factory=dict)
    dimension: int | None = None
    attributes: Mapping[str, int] = field(default_factory=dict)
    groups: int | None = None

    def then(self, later: Layer) -> Layer:
        """Where a cut has made a convolution depthwise, what goes then goes from both of the sides that it had."""
        more = dict(later.sides)
        if {"in", "out"} & self.sides.keys() and "both" in more:
            more["in"] = more["out"] = more.pop("both")
        twice = {side: self.sides[side].then(more[side]) for side in self.sides if side in more}
        dimension = later.dimension if self.dimension is None else self.dimension
        attributes = {**self.attributes, **later.attributes}
        return Layer({**more, **self.sides, **twice}, dimension, attributes, self.groups or later.groups)


@dataclass(frozen=True)
class Plan:
    """Every layer, or parameter, that loses channels, by its name, and the sparsity that pruners were asked for."""

    layers: Mapping[str, Layer]
    requested: Mapping[str, float] = field(default_factory=dict)

    def then(self, later: Plan) -> Plan:
        """This plan and one of the model that it gave, as one."""
        names = [*self.layers, *(name for name in later.layers if name not in self.layers)]
        layers = {name: self.layers.get(name, Layer()).then(later.layers.get(name, Layer())) for name in names}
        requested = {name: 1 - (1 - self.requested.get(name, 0)) * (1 - more) for name, more in later.requested.items()}
        return Plan(layers, {**self.requested, **requested})

    def to_json(self) -> str:
        layers = {name: _to_dict(layer) for name, layer in self.layers.items()}
        return json.dumps({"format": FORMAT, "layers": layers, "requested": dict(self.requested)})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        try:
            given = json.loads(text)
            if given["format"] != FORMAT:
                raise CompressionError(f"given a plan of format {given['format']!r}; expected {FORMAT!r}")
            layers = {name: _from_dict(layer) for name, layer in given["layers"].items()}
            requested = {name: float(sparsity) for name, sparsity in given["requested"].items()}
            if not all(0 <= sparsity < 1 for sparsity in requested.values()):
                raise ValueError(f"requested {requested!r}")
            return cls(layers, requested)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CompressionError(f"given a plan that is none ({error!r}); expected one of save_compact") from None


def plan_of(model: nn.Module) -> Plan | None:
    """What has been cut of a model since its class built it; None of one that is whole."""
    plan: Plan | None = model.__dict__.get(_ATTRIBUTE)
    return plan


def remember(model: nn.Module, plan: Plan) -> None:
    model.__dict__[_ATTRIBUTE] = plan


def planned(graph: Graph, going: Flags, limits: Limits, model: nn.Module) -> Plan:
    """What stays of a model where these units go."""
    modules = dict(model.named_modules())
    layers: dict[str, Layer] = {}
    for node in reversed(list(graph.layers())):
        sides = {
            side: Kept(len(units), tuple(np.flatnonzero(~going[units]).tolist()))
            for side, units in node.sides.items()
            if going[units].any()
        }
        if sides:
            count = convolution_groups(modules[node.name]) if node.name in modules else 1
            layers[node.name or ""] = Layer(sides, node.dimension, groups=count if count > 1 else None)
    for heads in limits.bundles:
        if isinstance(heads, Heads) and (lost := sum(bool(going[units].all()) for units in heads.sets)):
            left = len(heads.sets) - lost
            width = sum(len(units) for units in heads.sets if not going[units].all())
            attributes = {**dict.fromkeys(heads.counts, left), **dict.fromkeys(heads.widths, width)}
            layers[heads.module] = Layer(attributes=attributes)
    return Plan(layers)


def _to_dict(layer: Layer) -> dict[str, Any]:
    sides: dict[str, Any] = {side: {"of": kept.of, "kept": list(kept.channels)} for side, kept in layer.sides.items()}
    numbers = {"dimension": layer.dimension, "groups": layer.groups}
    given = {name: number for name, number in numbers.items() if number is not None}
    return {**sides, **given, **({"attributes": dict(layer.attributes)} if layer.attributes else {})}


def _from_dict(given: Mapping[str, Any]) -> Layer:
    sides: tuple[Side, ...] = ("in", "out", "both")
    attributes: dict[str, int] = given.get("attributes", {})
    if not set(attributes) <= {*HEADS, *WIDTHS} or not all(is_count(count) for count in attributes.values()):
        raise ValueError(f"attributes {attributes!r}")
    dimension, groups = given.get("dimension"), given.get("groups")
    if not all(number is None or type(number) is int for number in (dimension, groups)):
        raise ValueError(f"dimension {dimension!r}, groups {groups!r}")
    kept = {side: _kept(given[side]["of"], given[side]["kept"]) for side in sides if side in given}
    return Layer(kept, dimension, attributes, groups)


def _kept(of: int, channels: list[int]) -> Kept:
    rising = all(low < high for low, high in zip([-1, *channels], [*channels, of], strict=True))
    if not (channels and rising and all(type(channel) is int for channel in (of, *channels))):
        raise ValueError(f"channels {channels[:3]!r}... of {of!r}")
    return Kept(of, tuple(channels))
