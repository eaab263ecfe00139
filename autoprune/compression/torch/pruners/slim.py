"""Network slimming.

Z. Liu et al., "Learning efficient convolutional networks through network slimming", 2017: training with an L1 penalty
on the scales (gamma) of BatchNorm layers drives those of unimportant channels to zero; one threshold over all layers
then says which channels go, with their shifts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from autoprune.compression.core.config_list import Key, is_number
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.feeding import Loss, Trainer
from autoprune.compression.torch.layers import BATCH_NORMS, LayerInfo
from autoprune.compression.torch.pruners._data_driven import DataDrivenPruner
from autoprune.compression.torch.pruners.base import Pruner


class SlimPruner(DataDrivenPruner):
    """Trains for `training_epochs` with `scale` times the sum of |gamma| added to the loss, then prunes by |gamma|.

    Without data, or with no epochs to train, it prunes by the gammas as they are.
    """

    keys = (*Pruner.keys, Key("scale", "a number, 0 or more", lambda value: is_number(value) and value >= 0, 1e-4))
    granularity = "filter"
    allocation = "global"
    supported = BATCH_NORMS
    purpose = "training"

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        trainer: Trainer | None = None,
        optimizer: Optimizer | None = None,
        criterion: Any = None,
        training_epochs: int | None = None,
        *,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        **settings: Any,
    ) -> None:
        if training_epochs is None:
            given = (trainer, optimizer, criterion, batches, loss)
            training_epochs = 0 if all(part is None for part in given) else 1
        self.check_number("training_epochs", training_epochs, least=0)
        self.training_epochs = training_epochs
        super().__init__(
            model, config_list, trainer, optimizer, criterion, None, batches=batches, loss=loss, **settings
        )

    @property
    def needs_data(self) -> bool:
        return self.training_epochs > 0

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        def penalise() -> None:
            for info in layers:
                if (gradient := info.weight.grad) is not None:
                    gradient.add_(info.weight.sign(), alpha=info.settings["scale"])

        if self.needs_data:
            self.feed.train(self.model, self.training_epochs, None, penalise)

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.abs()
