"""LAMP: one ranking of the squares of weights, each relative to those that are not smaller in its layer.

J. Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021. Of filters, their L1 norms are ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoprune.compression.core.allocations.lamp import lamp_scores
from autoprune.search.heuristics._ranking import magnitudes, ranked
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind


class Lamp(Heuristic):
    name = "lamp"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 30, "filters": 40}
    pruner = "level"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        return ranked(subject.scaler, {layer: lamp_scores(own) for layer, own in magnitudes(subject).items()})
