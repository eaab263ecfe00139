"""Going back: a model and its optimizer as they were at some moment.

A lottery ticket trains each round from the same start, a search tries each allocation from the same weights and ends
with the best one. State goes back tensor by tensor and not through `load_state_dict`, which would cast it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch import masking
from autoprune.compression.torch.masking import Masked, Vote


@dataclass(frozen=True)
class _Weight:
    """The values of a parameter, those under masks too, and who masked what of it."""

    dense: Tensor
    votes: Mapping[str, Vote]


class Snapshot:
    """A model's parameters, buffers and masks, and the state of its optimizer and lr_scheduler, as they are now."""

    def __init__(
        self, model: nn.Module, optimizer: Optimizer | None = None, lr_scheduler: LRScheduler | None = None
    ) -> None:
        self._model = model
        self._weights = {path: _weight(*_place(model, path)) for path, _ in model.named_parameters()}
        self._buffers = {path: buffer.detach().clone() for path, buffer in model.named_buffers()}
        self._optimizer = None if optimizer is None else _OptimizerState(optimizer)
        self._lr_scheduler = lr_scheduler
        self._schedule = None if lr_scheduler is None else copy.deepcopy(lr_scheduler.state_dict())

    def rewind(self) -> None:
        """Everything goes back but the masks: what they keep has the values it had, what they prune stays zero."""
        self._go_back(masks=False)

    def restore(self) -> None:
        """Everything goes back, the masks too."""
        self._go_back(masks=True)
        masking.tidy(self._model)

    @torch.no_grad()
    def _go_back(self, *, masks: bool) -> None:
        for path, weight in self._weights.items():
            module, name = _place(self._model, path)
            parameter, held = module.get_parameter(name), masking.find(module, name)
            votes = {} if held is None else _without_votes(held)
            parameter.copy_(weight.dense)
            parameter.grad = None
            if held is not None:
                for owner, vote in (weight.votes if masks else votes).items():
                    held.set_vote(owner, vote)
        for path, value in self._buffers.items():
            module, name = _place(self._model, path)
            module.get_buffer(name).copy_(value)
        if self._lr_scheduler is not None:
            self._lr_scheduler.load_state_dict(copy.deepcopy(self._schedule or {}))
        if self._optimizer is not None:
            self._optimizer.restore()


class _OptimizerState:
    """The state and the hyperparameters of an optimizer; parameters in it stay the objects they are."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._state = self._copied(dict(optimizer.state))
        self._groups = [self._copied(group) for group in optimizer.param_groups]

    def restore(self) -> None:
        self._optimizer.state.clear()
        self._optimizer.state.update(self._copied(self._state))
        for group, saved in zip(self._optimizer.param_groups, self._groups, strict=False):
            group |= self._copied(saved)

    def _copied(self, value: dict[Any, Any]) -> dict[Any, Any]:
        groups = self._optimizer.param_groups
        return copy.deepcopy(value, {id(parameter): parameter for group in groups for parameter in group["params"]})


def check(where: str, optimizer: object, lr_scheduler: object) -> None:
    """Refuse what cannot be rewound."""
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise CompressionError(f"{where}: given {shown(optimizer)} as optimizer; expected a torch.optim.Optimizer")
    if lr_scheduler is not None and not isinstance(lr_scheduler, LRScheduler):
        raise CompressionError(f"{where}: given {shown(lr_scheduler)} as lr_scheduler; expected one of torch.optim")
    if lr_scheduler is not None and optimizer is None:
        raise CompressionError(
            f"{where}: given an lr_scheduler without its optimizer; expected both, so that the learning rate goes back"
        )


def _place(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    owner, _, name = path.rpartition(".")
    return model.get_submodule(owner), name


def _weight(module: nn.Module, name: str) -> _Weight:
    held = masking.find(module, name)
    if held is None:
        return _Weight(module.get_parameter(name).detach().clone(), {})
    return _Weight(held.dense(), dict(held.votes))


def _without_votes(held: Masked) -> dict[str, Vote]:
    """Withdraw everybody, so that the values written next are dense ones; the votes are given back."""
    votes = dict(held.votes)
    for owner in votes:
        held.drop_vote(owner, keep_zeros=False)
    return votes
