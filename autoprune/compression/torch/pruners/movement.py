"""Movement pruning: while the network is fine-tuned, the weights that move towards zero go.

V. Sanh, T. Wolf and A. Rush, "Movement pruning: adaptive sparsity by fine-tuning", 2020, with its cubic schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from autoprune.compression.core.config_list import Entry
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import masking
from autoprune.compression.torch.choosing import Budget, Candidate
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.agp import SCHEDULE, schedule_problems, scheduled
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.stepping import closure_of, is_scoring, unscale, with_closure
from autoprune.errors import Problem


class MovementPruner(Pruner):
    """Keeps the weights whose importance is largest: S, the sum of -gradient * weight over the optimizer's steps.

    A pruned weight keeps its last value and goes on gathering importance, so it may come back. The sparsity follows
    the keys of AGPPruner: `compress()` first, then train and call `update_epoch(epoch + 1)` after each epoch.
    """

    grows = True
    keys = SCHEDULE
    final_key = "final_sparsity"

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        importance = self._importance.get((layer.name, layer.parameter))
        if importance is None:
            raise CompressionError(
                f"{self._called}: given no training of layer {layer.called} to go by; expected optimizer steps between "
                "compress() and the first pruning (initial_sparsity 0, and update_epoch(epoch + 1) after an epoch)"
            )
        return importance

    def amount(self, settings: Mapping[str, Any], epoch: int) -> float:
        return scheduled(settings, epoch)

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        return schedule_problems(where, settings)

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        _watching.add(self)

    def unwrap(self, *, keep_zeros: bool = False) -> nn.Module:
        _watching.discard(self)
        self._importance.clear()
        return super().unwrap(keep_zeros=keep_zeros)

    @torch.no_grad()
    def gather(self, optimizer: Optimizer) -> None:
        """Add what a step of this optimizer is about to do, from the gradients as they are now."""
        steps = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for target in self._targets:
            info = self.info(target)
            weight = info.weight
            held = masking.find(info.module, info.parameter)
            if id(weight) in steps and weight.grad is not None and held is not None:
                key = (info.name, info.parameter)
                exact = torch.promote_types(weight.dtype, torch.float32)
                sofar = self._importance.get(key, torch.zeros((), dtype=exact)).to(weight.device)
                gradient, value = weight.grad.to_dense().to(exact), held.dense().to(exact)
                self._importance[key] = torch.addcmul(sofar, gradient, value, value=-1)

    @property
    def _importance(self) -> dict[tuple[str, str], Tensor]:
        gathered: dict[tuple[str, str], Tensor] = self.__dict__.setdefault("_gathered", {})
        return gathered

    def _candidate(self, info: LayerInfo, entry: Entry, budget: Budget) -> Candidate:
        """Every weight anew, pruned or not: the masks do not nest."""
        return Candidate(info, None, self._owner, self.formula(entry), budget.allocation)


_watching: WeakSet[MovementPruner] = WeakSet()


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
    """Gradients are there before the step, or after the closure that computes them within it."""
    if is_scoring():
        return None
    closure = closure_of(args, kwargs) if _watching else None
    if closure is None:
        _gather(optimizer)
        return None

    def closed() -> object:
        loss = closure()
        _gather(optimizer)
        return loss

    return with_closure(closed, args, kwargs)


def _gather(optimizer: Optimizer) -> None:
    watching = list(_watching)
    if watching and unscale(optimizer):
        for pruner in watching:
            pruner.gather(optimizer)


register_optimizer_step_pre_hook(_before_step)
