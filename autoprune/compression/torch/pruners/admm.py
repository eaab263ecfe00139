"""Pruning by the alternating direction method of multipliers.

T. Zhang et al., "A systematic DNN weight pruning framework using alternating direction method of multipliers", 2018.
To minimise the loss f(W) over sparse W, W is trained on f(W) + rho/2 ||W - Z + U||^2, Z is the sparse tensor nearest
to W + U, and U sums up what is left between the two. The closer W comes to Z, the less the cut at the end costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoprune.compression.core.config_list import Key, is_number
from autoprune.compression.torch.choosing import Budget, elementwise
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.feeding import Loss, Trainer
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.pruners._data_driven import DataDrivenPruner, LayerKey, key_of
from autoprune.compression.torch.pruners.base import Pruner


@dataclass
class _Split:
    """A layer's weight W, its sparse twin Z and the scaled dual U."""

    weight: nn.Parameter
    rho: float
    sparse: Tensor
    dual: Tensor

    def penalise(self) -> None:
        """Add the gradient of rho/2 ||W - Z + U||^2."""
        if self.weight.grad is not None:
            self.weight.grad.add_(self.weight - self.sparse + self.dual, alpha=self.rho)


class ADMMPruner(DataDrivenPruner):
    """Trains the weights towards a sparse tensor, then prunes the smallest |w|.

    Each of `iterations` trains for `training_epochs`, of `training_batches` steps at most, and then moves Z and U.
    `rho` weighs the penalty. `residuals` tells ||W - Z|| of all layers after each iteration.
    """

    purpose = "training"
    keys = (*Pruner.keys, Key("rho", "a number above 0", lambda value: is_number(value) and value > 0, 1e-2))

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        trainer: Trainer | None = None,
        optimizer: Optimizer | None = None,
        criterion: Any = None,
        training_batches: int | None = None,
        *,
        iterations: int = 10,
        training_epochs: int = 1,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            model, config_list, trainer, optimizer, criterion, training_batches, batches=batches, loss=loss, **settings
        )
        self.check_number("iterations", iterations, least=1)
        self.check_number("training_epochs", training_epochs, least=1)
        self.iterations = iterations
        self.training_epochs = training_epochs
        self.residuals: list[float] = []

    def prune(self, budgets: Sequence[Budget]) -> None:
        infos = [self.info(target) for budget in budgets for target in budget.targets]
        splits = {key_of(info): _split(info) for info in infos}

        def penalise() -> None:
            for split in splits.values():
                split.penalise()

        self.residuals = []
        for _ in range(self.iterations):
            self.feed.train(self.model, self.training_epochs, self.training_batches, penalise)
            self._project(splits, budgets)
        super().prune(budgets)

    @torch.no_grad()
    def _project(self, splits: dict[LayerKey, _Split], budgets: Sequence[Budget]) -> None:
        """Z = W + U where the budgets keep it, else 0; U += W - Z."""
        trained = {key: split.weight.clone() for key, split in splits.items()}
        for split in splits.values():
            split.weight.add_(split.dual)
        for info, keep, _ in [choice for budget in budgets for choice in self._choose(budget)]:
            split = splits[key_of(info)]
            split.sparse = torch.where(keep, split.weight, 0)
        for key, split in splits.items():
            split.weight.copy_(trained[key])
            split.dual += split.weight - split.sparse
        gaps = [(split.weight - split.sparse).double().square().sum() for split in splits.values()]
        self.residuals.append(float(sum(gaps)) ** 0.5)

    @elementwise
    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.abs()

    def combine(self, blocks: Tensor) -> Tensor:
        return wide(blocks).square().sum(1)


def _split(info: LayerInfo) -> _Split:
    weight = info.weight
    return _Split(weight, info.settings["rho"], weight.detach().clone(), torch.zeros_like(weight.detach()))
