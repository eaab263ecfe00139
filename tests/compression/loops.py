"""The training loop that users write, batches for it, and what tests ask of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

Batch: TypeAlias = tuple[Tensor, Tensor]
Trainer: TypeAlias = Callable[[nn.Module, torch.optim.Optimizer, Any], None]


def rows(count: int, size: int = 4) -> list[Batch]:
    """Vectors of five in three classes."""
    return [(torch.randn(size, 5), torch.randint(3, (size,))) for _ in range(count)]


def images(count: int, size: int = 4) -> list[Batch]:
    """Small grey images in ten classes."""
    return [(torch.randn(size, 1, 8, 8), torch.randint(10, (size,))) for _ in range(count)]


def epoch(data: list[Batch]) -> Trainer:
    def trainer(model: nn.Module, optimizer: torch.optim.Optimizer, criterion: Any) -> None:
        model.train()
        for inputs, target in data:
            optimizer.zero_grad()
            torch.autograd.backward(criterion(model(inputs), target))
            optimizer.step()

    return trainer


def scores(pruner: Any) -> dict[str, Tensor]:
    """What each layer scored."""
    infos = [pruner.info(target) for budget in pruner.plan() for target in budget.targets]
    return {info.name: pruner.score(info, info.weight.detach()) for info in infos}


def same(one: Any, other: Any) -> bool:
    """Whether two structures hold the same values."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def dropped(keep: Tensor) -> list[int]:
    """The filters of which nothing is kept; of the others everything is."""
    whole = keep.flatten(1) if keep.dim() > 1 else keep[:, None]
    assert torch.equal(whole.all(1), whole.any(1))
    return torch.nonzero(~whole.any(1)).flatten().tolist()
