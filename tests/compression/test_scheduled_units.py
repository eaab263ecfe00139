"""Schedules with units of several weights, and with pruners that look at data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from autoprune.compression.torch import (
    ActivationAPoZRankPruner,
    L1NormPruner,
    ScheduledPruner,
    TaylorFOWeightPruner,
    WandaPruner,
)


def test_filters_of_every_allocation_add_up_to_the_target_as_far_as_they_fit() -> None:
    """In filters of 9, 72 and 108 weights: less is left over than the largest has."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 12, 3), nn.Conv2d(12, 16, 3))
    scheduled = ScheduledPruner(
        L1NormPruner(model, [{"total_sparsity": 0.6}]), "simulated_annealing", evaluator=lambda model: 0.5
    )
    scheduled.compress()
    pruned = [round(record.achieved * 2664) for record in scheduled.history]
    assert all(int(2664 * 0.6) - 108 < count <= int(2664 * 0.6) for count in pruned)


@pytest.mark.parametrize("schedule", ["linear", "agp", "lottery_ticket", "one_shot", "simulated_annealing"])
@pytest.mark.parametrize("kind", [TaylorFOWeightPruner, ActivationAPoZRankPruner, WandaPruner])
def test_pruners_that_look_at_data_on_every_schedule(net: nn.Module, kind: Any, schedule: str) -> None:
    batches = [(torch.randn(4, 1, 8, 8), torch.arange(4))]
    given = {"loss": nn.functional.cross_entropy} if kind is TaylorFOWeightPruner else {}
    pruner = kind(net, [{"sparsity": 0.5, "op_types": ["Conv2d"]}], batches=batches, **given)
    arguments = {} if schedule in ("one_shot", "simulated_annealing") else {"total_iteration": 2}
    scheduled = ScheduledPruner(pruner, schedule, evaluator=lambda model: 0.5, **arguments)
    scheduled.compress()
    assert scheduled.best is not None
    assert 0.4 < scheduled.best.achieved <= 0.5
