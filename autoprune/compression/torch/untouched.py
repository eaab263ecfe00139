"""What a run over data may change, and how it goes back: to the same objects with the same values."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_DYNAMO = "torch._dynamo"
"""Loaded where anything has been compiled; it takes long to load."""


class Saved:
    """What a run may change of modules and an optimizer, to be put back: the same objects with the same values."""

    def __init__(self, roots: Iterable[nn.Module], optimizer: Optimizer) -> None:
        self._tensors: dict[int, tuple[Tensor, Callable[[], Any]]] = {}
        modules = [module for root in roots for module in root.modules()]
        owners = [vars(module) for module in modules]
        deep = [vars(module)[part] for module in modules for part in ("_parameters", "_buffers")]
        self._undo = [self._keep(part) for part in (*deep, optimizer.state, optimizer.param_groups)]
        self._undo += [_keep_dict(owner, dict(owner)) for owner in (*owners, vars(optimizer))]

    def drop_gradients(self) -> None:
        """So that a step of the optimizer changes nothing."""
        for tensor, _ in self._tensors.values():
            if tensor.is_leaf:
                tensor.grad = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        finally:
            with torch.no_grad():
                for undo in self._undo:
                    undo()

    def _keep(self, value: Any) -> Callable[[], Any]:
        if isinstance(value, Tensor):
            if id(value) not in self._tensors:
                self._tensors[id(value)] = value, _keep_tensor(value)
            return self._tensors[id(value)][1]
        if isinstance(value, dict):
            items = {key: self._keep(item) for key, item in value.items()}
            return lambda: _keep_dict(value, {key: undo() for key, undo in items.items()})()
        if isinstance(value, list | tuple):
            parts = [self._keep(item) for item in value]
            return lambda: _refill(value, [undo() for undo in parts])
        return lambda: value


def _keep_tensor(tensor: Tensor) -> Callable[[], Tensor]:
    """Its storage, values, gradient and whether it needs one: a run may have moved it to another device."""
    data, values = tensor.data, tensor.detach().clone()
    gradient, trains = (tensor.grad, tensor.requires_grad) if tensor.is_leaf else (None, False)

    def undo() -> Tensor:
        if not tensor.is_leaf:
            return tensor.copy_(values)
        tensor.grad = None
        tensor.data = data
        data.copy_(values)
        tensor.grad = gradient
        return tensor.requires_grad_(trains)

    return undo


def _keep_dict(owner: dict[Any, Any], items: dict[Any, Any]) -> Callable[[], dict[Any, Any]]:
    def undo() -> dict[Any, Any]:
        owner.clear()
        owner.update(items)
        return owner

    return undo


def _refill(sequence: Any, items: list[Any]) -> Any:
    if isinstance(sequence, list):
        sequence[:] = items
    return sequence


@contextmanager
def random_state_kept() -> Iterator[None]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    initialised: Any = torch.cuda.is_initialized
    cuda = torch.cuda.get_rng_state_all() if initialised() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def eager() -> Iterator[None]:
    """While inside, models run as they are written: what torch.compile wrapped, and attention without its fast path."""
    stance: Any = torch.compiler.set_stance
    compiled = cast(AbstractContextManager[object], stance("force_eager")) if _DYNAMO in sys.modules else nullcontext()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with compiled:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """What a forward leaves on its modules is as it was: buffers and their values, modes, hooks, every attribute, and
    what lists, dicts and sets among them hold."""
    owners = [vars(module) for module in model.modules()]
    held = {id(each): each for own in owners for each in own.values() if isinstance(each, list | dict | set)}
    contents = [(each, each.copy()) for each in (*owners, *held.values())]
    values = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for each, before in contents:
                _refill_whole(each, before)
            for buffer, value in values:
                if buffer.shape != value.shape:
                    buffer.data = value
                elif not buffer.is_inference():
                    buffer.copy_(value)


def _refill_whole(container: Any, content: Any) -> None:
    """Never empty meanwhile, for whoever interrupts it."""
    if isinstance(container, list):
        container[:] = content
        return
    container.update(content)
    for more in [each for each in container if each not in content]:
        container.pop(more) if isinstance(container, dict) else container.remove(more)


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
