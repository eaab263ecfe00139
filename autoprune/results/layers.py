"""What a trial of a task made of its model: what it costs, and layer by layer what was asked for and what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoprune.latency import REPORTED
from autoprune.records import JSON
from autoprune.results.models import Cost, LayerResult
from autoprune.search_space.leaves import is_number

_PROPORTIONS = "sparsities are proportions, which each trial scales to the budget"


def cost_of(metrics: Mapping[str, JSON]) -> Cost | None:
    """The cost of the trial's model; None where the trial reported none."""
    names = {"parameters": "parameters", "macs": "macs", "bytes": "bytes", "latency_ms": REPORTED}
    told = {name: metrics[key] for name, key in names.items() if is_number(metrics.get(key))}
    return Cost(**told) if told else None


def proportions(facts: Mapping[str, JSON] | None) -> str:
    """What to say of the sparsities among the parameters: nothing, unless a task has a budget."""
    return _PROPORTIONS if facts and facts["budget"] else ""


def layers_of(metrics: Mapping[str, JSON]) -> list[LayerResult] | None:
    """A row for each layer, in the order of the model; None where the trial reported no layers.

    What was asked of a layer is what the trial says of that: its parameters alone do not tell, since a budget scales
    them.
    """
    layers = metrics.get("layers")
    if not isinstance(layers, Mapping):
        return None
    return [
        LayerResult(
            layer=str(name),
            requested=_number(layer, "requested"),
            achieved=_number(layer, "sparsity"),
            kept=_number(layer, "kept"),
            of=_number(layer, "of"),
        )
        for name, layer in layers.items()
        if isinstance(layer, Mapping)
    ]


def _number(layer: Mapping[str, JSON], name: str) -> Any:
    value = layer.get(name)
    return value if is_number(value) else None
