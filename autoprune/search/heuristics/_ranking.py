"""What heuristics share: scores of weights or filters, one ranking of all of them, and where the budget cuts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from autoprune.compression.torch.layers import filters_first
from autoprune.compression.torch.precision import wide
from autoprune.search.heuristics.base import Subject
from autoprune.search.scaling import Scaler

_HALVINGS = 40
_WITHOUT_BUDGET = 0.5


def magnitudes(subject: Subject) -> dict[str, NDArray[np.floating]]:
    """Of each layer, the absolute values of its weights, or the sums of them for each filter."""
    found = {}
    for layer in subject.scaler.layers:
        module = subject.model.get_submodule(layer)
        weight = wide(module.get_parameter("weight").detach()).abs()
        if subject.scaler.kind == "filters":
            weight = filters_first(module, weight).flatten(1).sum(1)
        found[layer] = weight.flatten().cpu().numpy()
    return found


def ranked(scaler: Scaler, scores: Mapping[str, NDArray[np.floating]]) -> Mapping[str, float]:
    """The sparsity of each group where the lowest scores of all layers go, as many as the budget wants."""
    pooled = np.sort(np.concatenate(list(scores.values())))
    ordered = {layer: np.sort(own) for layer, own in scores.items()}

    def cut(share: float) -> Mapping[str, float]:
        threshold = pooled[min(int(share * len(pooled)), len(pooled) - 1)]
        gone = {layer: int(np.searchsorted(own, threshold)) for layer, own in ordered.items()}
        return scaler.of_groups({layer: min(gone[layer], len(own) - 1) / len(own) for layer, own in ordered.items()})

    return at_budget(scaler, cut)


def at_budget(scaler: Scaler, family: Callable[[float], Mapping[str, float]]) -> Mapping[str, float]:
    """Of allocations that get sparser from 0 to 1, the one that the budget has to change least."""
    if not (budget := scaler.described()):
        return family(_WITHOUT_BUDGET)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = scaler.left(scaler.of_layers(family(middle)))
        assert left is not None
        low, high = (middle, high) if left > budget["limit"] else (low, middle)
    return family(high)
