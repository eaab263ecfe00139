"""What a trial of a task made of its model: what it costs, and layer by layer what was asked for and what came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autoprune.latency import REPORTED
from autoprune.records import JSON
from autoprune.results.models import Cost, LayerResult
from autoprune.search_space.leaves import is_number

_ENDING = "_sparsity"


def cost_of(metrics: Mapping[str, JSON]) -> Cost | None:
    """The cost of the trial's model; None where the trial reported none."""
    names = {"parameters": "parameters", "macs": "macs", "bytes": "bytes", "latency_ms": REPORTED}
    told = {name: metrics[key] for name, key in names.items() if is_number(metrics.get(key))}
    return Cost(**told) if told else None


def layers_of(
    parameters: Mapping[str, JSON], metrics: Mapping[str, JSON], facts: Mapping[str, Any] | None
) -> list[LayerResult] | None:
    """A row for each layer, in the order of the model; None where the trial reported no layers."""
    layers = metrics.get("layers")
    if not isinstance(layers, Mapping):
        return None
    requested = _requested(parameters, facts)
    return [
        LayerResult(
            layer=str(name),
            requested=requested.get(str(name)),
            achieved=_number(layer, "sparsity"),
            kept=_number(layer, "kept"),
            of=_number(layer, "of"),
        )
        for name, layer in layers.items()
        if isinstance(layer, Mapping)
    ]


def _requested(parameters: Mapping[str, JSON], facts: Mapping[str, Any] | None) -> dict[str, float]:
    """The sparsity that the parameters ask of each layer, by way of the group that it is in."""
    of_groups = dict(_sparsities(parameters))
    chosen = set(_branches(parameters))
    by_pruner = (facts or {}).get("groups", {})
    groups = [group for pruner, own in by_pruner.items() if pruner in chosen for group in own]
    of_layers = {
        layer: of_groups[group["name"]] for group in groups if group["name"] in of_groups for layer in group["layers"]
    }
    return of_groups | of_layers


def _sparsities(tree: Mapping[str, JSON]) -> Iterator[tuple[str, float]]:
    """The parameters that are named after a group, wherever in the tree they stand."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _sparsities(value)
        elif name.endswith(_ENDING) and is_number(value):
            yield name.removesuffix(_ENDING), float(value)


def _branches(tree: Mapping[str, JSON]) -> Iterator[str]:
    """The names of the options that the parameters choose: one of them is the pruner."""
    for value in tree.values():
        if isinstance(value, Mapping):
            yield from _branches(value)
            if "_name" in value:
                yield str(value["_name"])


def _number(layer: Mapping[str, JSON], name: str) -> Any:
    value = layer.get(name)
    return value if is_number(value) else None
