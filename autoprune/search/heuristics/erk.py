"""Erdos-Renyi-Kernel: the density of a layer goes with the sum of its dimensions over their product.

U. Evci et al., "Rigging the lottery", 2020. It goes by the shapes of the layers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoprune.compression.core.allocations.erk import Erk as Allocation
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind


class Erk(Heuristic):
    name = "erk"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 40}
    pruner = "level"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        scaler = subject.scaler
        weights = {name: subject.model.get_submodule(name).get_parameter("weight") for name in scaler.layers}
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        return scaler.of_groups(Allocation().divide(shapes, scaler.even_sparsity, None))
