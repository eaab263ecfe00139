"""Every group the same sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind


class Uniform(Heuristic):
    name = "uniform"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 70, "filters": 10}
    pruner = "level"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        return {group.name: 0.5 for group in subject.scaler.groups}
