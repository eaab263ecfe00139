"""Iterative Fisher: one ranking of all weights by w^2 E[g^2], pruned in rounds, each on what the one before has left.

The diagonal of the empirical Fisher information in place of the Hessian of Optimal Brain Damage (L. Theis et al.,
"Faster gaze prediction with dense networks and Fisher pruning", 2018). In one go it cuts layers through; in rounds,
with BatchNorm statistics estimated anew, it was the best of all that is here. `FisherPruner` prunes by the same score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoprune.compression.torch import names
from autoprune.compression.torch.copying import plain_copy
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.loading import in_pairs
from autoprune.search.scaling import Kind


class Fisher(Heuristic):
    name = "fisher"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 10}
    pruner = "fisher"

    def obstacle(self, subject: Subject) -> str:
        if in_pairs(subject.batches) and subject.loss is not None:
            return ""
        return "the task has no calibration_batches of pairs (inputs, target)"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        kind: Any = names.pruner(self.pruner)
        entries = [{"total_sparsity": subject.scaler.even_sparsity, "op_names": subject.scaler.layers}]
        pruner = kind(plain_copy(subject.model, {}), entries, batches=subject.batches, loss=subject.loss)
        _, masks = pruner.compress()
        gone = {name: 1 - own["weight"].sum().item() / own["weight"].numel() for name, own in masks.items()}
        return subject.scaler.of_groups(gone)
