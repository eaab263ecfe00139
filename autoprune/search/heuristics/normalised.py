"""Layer-normalised global magnitude: one ranking, in which each layer counts by its own scale.

Weights are divided by the root of the mean square of their layer, L1 norms of filters by their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from autoprune.search.heuristics._ranking import magnitudes, ranked
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind


class Normalised(Heuristic):
    name = "normalised"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 80, "filters": 20}
    pruner = "level"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        found = magnitudes(subject)
        scale = np.mean if subject.scaler.kind == "filters" else _root_mean_square
        return ranked(subject.scaler, {layer: own / (float(scale(own)) or 1.0) for layer, own in found.items()})


def _root_mean_square(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
