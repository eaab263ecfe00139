"""Lottery tickets: train, prune by magnitude, put what is left back to where it started, and train again.

J. Frankle and M. Carbin, "The Lottery Ticket Hypothesis", 2019. Every round prunes the same share of what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoprune.compression.core.config_list import integer_key
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.core.formulas import lottery_sparsity
from autoprune.compression.torch import rewinding
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.pruners.base import Masks, Pruner
from autoprune.compression.torch.pruners.level import LevelPruner
from autoprune.compression.torch.rewinding import Snapshot
from autoprune.compression.torch.stepping import trains


class LotteryTicketPruner(LevelPruner):
    """Reaches `sparsity` in `prune_iterations` rounds, each trained from the weights at `compress()`, theta_0.

    Call `prune_iteration_start()` for each of `get_prune_iterations()`, then train. Round 0 is dense. The buffers,
    the optimizer and the lr_scheduler go back too; with `reset_weights=False` nothing does.
    """

    keys = (integer_key("prune_iterations", least=1), *Pruner.keys)

    _start: Snapshot | None = None
    _round: int = 0

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        optimizer: Optimizer | None = None,
        lr_scheduler: LRScheduler | None = None,
        reset_weights: bool = True,
        **settings: Any,
    ) -> None:
        rewinding.check(self._called, optimizer, lr_scheduler)
        self._optimizer, self._lr_scheduler, self._reset_weights = optimizer, lr_scheduler, reset_weights
        super().__init__(model, config_list, **settings)

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        return lottery_sparsity(epoch, settings["prune_iterations"], super().amount(settings, epoch))

    def compress(self) -> tuple[nn.Module, Masks]:
        """Take theta_0 and leave the model dense. Again, before `unwrap()`, it changes nothing."""
        if self._optimizer is not None and not trains(self._optimizer, self.model):
            raise CompressionError(
                f"{self._called}: given an optimizer that holds no parameter of the model; "
                "expected one built on model.parameters()"
            )
        compressed = super().compress()
        self._start = self._start or Snapshot(self.model, self._optimizer, self._lr_scheduler)
        return compressed

    def get_prune_iterations(self) -> range:
        """The rounds: the dense one, 0, and as many as the entry with the most of them asks for."""
        entries = [entry for entry in self._entries or () if not entry.exclude]
        return range(1 + max((entry.settings["prune_iterations"] for entry in entries), default=0))

    def prune_iteration_start(self) -> None:
        """Begin the next round: prune by the weights as they are now, then put those that are kept back."""
        rounds = self.get_prune_iterations()
        if self._start is None:
            raise CompressionError(
                f"{self._called}.prune_iteration_start: given a model without a theta_0; call compress() first"
            )
        if self._round not in rounds:
            raise CompressionError(
                f"{self._called}.prune_iteration_start: given a call after round {rounds[-1]}, the last one; expected "
                "one for each of get_prune_iterations() (to start anew, call unwrap() and compress())"
            )
        super().update_epoch(self._round)
        if self._round > 0 and self._reset_weights:
            self._start.rewind()
        self._round += 1

    def update_epoch(self, epoch: int) -> None:
        """Nothing: rounds move the masks, and the epochs within one do not."""
        self._check_compressed("update_epoch")

    def unwrap(self, *, keep_zeros: bool = False) -> nn.Module:
        self._start, self._round, self._epoch = None, 0, 0
        return super().unwrap(keep_zeros=keep_zeros)
