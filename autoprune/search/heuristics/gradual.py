"""Gradual: what one gradual pruning of the model has left of each layer, by one ranking of all weights (`gradual`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoprune.search.heuristics._ranking import ranked
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind


class Gradual(Heuristic):
    name = "gradual"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 0}
    pruner = "gradual"

    def obstacle(self, subject: Subject) -> str:
        return "" if subject.scores else "gradual is not one of the pruners"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        return ranked(subject.scaler, {layer: own.flatten().numpy() for layer, own in subject.scores.items()})
