"""Global magnitude: one ranking of all weights, or of the L1 norms of all filters, as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoprune.search.heuristics._ranking import magnitudes, ranked
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind


class Global(Heuristic):
    name = "global"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 60, "filters": 50}
    pruner = "level"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        return ranked(subject.scaler, magnitudes(subject))
