"""What layers allow: units that can not go, units that go together, and units that go in equal numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.nn.modules.conv import _ConvNd

from autoprune.compression.torch.compact.graph import Graph, Node, Units
from autoprune.compression.torch.compact.kinds import OVER_CHANNELS, Side, axes_of, convolution_groups, is_depthwise

HEADS = ("num_heads", "n_heads", "nhead", "n_head", "heads", "num_attention_heads")
WIDTHS = ("inner_dim", "attn_dim", "all_head_size", "attention_dim")
_STORED = ("Embedding", "EmbeddingBag", "Parameter")
_ATTENDING = ("ScaledDotProduct", "Bmm")


@dataclass(frozen=True)
class Bundle:
    """Sets of units of which each goes as a whole or stays."""

    sets: tuple[Units, ...]
    reason: str


@dataclass(frozen=True)
class Heads(Bundle):
    """The heads of an attention, and the attributes of its module that count them or their channels."""

    module: str
    counts: tuple[str, ...]
    widths: tuple[str, ...]


@dataclass(frozen=True)
class Balance:
    """Groups of a convolution, or parts of what is cut: they lose as many inputs, and as many outputs.

    A group of a convolution may go as a whole, if both do.
    """

    inputs: tuple[Units, ...]
    outputs: tuple[Units, ...]
    reason: str
    whole: bool


@dataclass(frozen=True)
class Limits:
    """Which units can not go, and why; which go together; which go in equal numbers."""

    fixed: Mapping[int, str]
    bundles: tuple[Bundle, ...]
    balances: tuple[Balance, ...]


def limits_of(graph: Graph, model: nn.Module, *, inexact: bool) -> Limits:
    """What the layers of a model allow."""
    modules = dict(model.named_modules())
    fixed = dict(graph.unclear)
    for node in graph.nodes:
        for units, reason in _fixed(node, modules.get(node.name or ""), inexact=inexact):
            for unit in units:
                fixed.setdefault(int(unit), reason)
    bundles: list[Bundle] = []
    for node in graph.nodes:
        if any(name in node.operation for name in _ATTENDING):
            found = _heads(graph, node, modules)
            if isinstance(found, Heads):
                bundles.append(found)
            else:
                fixed |= {int(unit): found for unit in node.leaving if int(unit) not in fixed}
    balances: list[Balance] = []
    for node in graph.layers():
        module = modules.get(node.name or "")
        if isinstance(module, nn.GroupNorm):
            groups = _parts(node, "both", module.num_groups)
            bundles.append(Bundle(groups, f"{node.name} normalises whole groups of channels"))
        elif module is not None and (count := convolution_groups(module)) > 1 and "in" in node.sides:
            reason = f"{node.name} keeps as many channels in each of its {count} groups"
            balances.append(Balance(_parts(node, "in", count), _parts(node, "out", count), reason, whole=True))
    for node in graph.nodes:
        if node.parts > 1 and len(node.leaving) % node.parts == 0:
            parts = _parts(node, "both", node.parts)
            balances.append(
                Balance(parts, parts, f"cut into {node.parts} parts, which keep as many channels each", whole=False)
            )
    return Limits(fixed, tuple(bundles), tuple(balances))


def is_source(node: Node) -> bool:
    """Whether channels begin here, in place of passing through."""
    return "out" in node.sides or node.operation in _STORED or node.is_parameter


def _fixed(node: Node, module: nn.Module | None, *, inexact: bool) -> Iterator[tuple[Units, str]]:
    everywhere = np.concatenate([*node.sides.values()]) if node.sides else node.leaving
    if node.operation == "_OutputOp":
        yield everywhere, "reaches the output of the model"
    elif node.compares:
        yield everywhere, f"compared with other channels ({node.operation})"
    elif node.operation == "Input":
        yield everywhere, "comes from the input of the model"
    elif isinstance(module, OVER_CHANNELS) and not inexact:
        kind = type(module).__name__
        yield everywhere, f"{node.name} ({kind}) normalises over it; inexact=True would remove it all the same"
    elif isinstance(module, nn.RNNBase):
        yield node.leaving, f"{node.name} ({type(module).__name__}) keeps its hidden units"
    elif isinstance(module, nn.MultiheadAttention):
        yield everywhere, f"{node.name} (MultiheadAttention) computes with all of its embed_dim"
    elif isinstance(module, _ConvNd) and 1 < module.groups == module.out_channels and not is_depthwise(module):
        yield everywhere, f"{node.name} has as many groups as outputs, but more inputs"
    elif module is not None and not all(_has_weights(module, side) for side in node.sides):
        yield everywhere, f"the weight of {node.name} is computed from others"


def _has_weights(module: nn.Module, side: Side) -> bool:
    """Whether what would lose channels are parameters and buffers, not what a parametrization makes of them."""
    own = {*module._parameters, *module._buffers}
    return all(axis.name in own for axis in axes_of(module, side))


def _heads(graph: Graph, node: Node, modules: Mapping[str, nn.Module]) -> Heads | str:
    """The heads of an attention, by the module that counts them; or why they can not be told."""
    units = set(node.leaving.tolist())
    around = [each for each in graph.layers() if any(units & set(side.tolist()) for side in each.sides.values())]
    owner = _owner([each.name or "" for each in around if isinstance(modules.get(each.name or ""), nn.Linear)], modules)
    if owner is None:
        return f"attention in a module without a count of its heads ({', '.join(HEADS[:3])}, ...)"
    counts = tuple(name for name in HEADS if is_count(modules[owner].__dict__.get(name)))
    number: int = getattr(modules[owner], counts[0])
    for each in around:
        channels = each.sides.get("in", node.leaving[:0])
        if units <= set(channels.tolist()) and len(channels) == len(units) and len(channels) % number == 0:
            widths = tuple(name for name in WIDTHS if getattr(modules[owner], name, None) == len(channels))
            reason = f"{owner or 'the model'} loses whole heads only"
            return Heads(tuple(np.array_split(channels, number)), reason, owner, counts, widths)
    return f"the channels of {owner or 'the model'} do not come in its {number} heads"


def _owner(names: Sequence[str], modules: Mapping[str, nn.Module]) -> str | None:
    """The nearest module around all of these that counts heads."""
    if not names:
        return None
    shared = names[0].split(".")[:-1]
    for name in names[1:]:
        parts = name.split(".")
        while parts[: len(shared)] != shared:
            shared.pop()
    while True:
        name = ".".join(shared)
        if name in modules and any(is_count(modules[name].__dict__.get(attribute)) for attribute in HEADS):
            return name
        if not shared:
            return None
        shared.pop()


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _parts(node: Node, side: Side, groups: int) -> tuple[Units, ...]:
    return tuple(np.array_split(node.sides[side], groups))
