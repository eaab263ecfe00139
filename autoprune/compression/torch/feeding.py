"""Running a model over data, for the pruners that score or train with it.

Data comes as a training function, `trainer(model, optimizer, criterion)`, which runs one epoch, or as batches and a
loss, of which we make such a function. It is stopped between two batches, when it calls the model again, so that no
optimizer step or loss scaler is left half-way. `observe` puts back whatever a run may change; `train` trains.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, NoReturn, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.torch.stepping import closure_of, scoring, trains, unscale, with_closure
from autoprune.compression.torch.untouched import Saved, modes_kept, random_state_kept

Trainer: TypeAlias = Callable[[nn.Module, Any, Any], object]
Loss: TypeAlias = Callable[[Any, Any], Tensor]
_Hook: TypeAlias = Callable[..., Any]
Purpose: TypeAlias = Literal["outputs", "gradients", "training"]


class _Enough(BaseException):
    """Ends a training function; not an Exception, so that one that catches those ends too."""


@dataclass(frozen=True)
class Feed:
    """How a model is run over data: one epoch of `trainer(model, optimizer, criterion)` at a time."""

    trainer: Trainer
    optimizer: Optimizer | None = None
    criterion: Any = None
    where: str = "Feed"

    @classmethod
    def of(
        cls,
        trainer: Trainer | None = None,
        optimizer: Optimizer | None = None,
        criterion: Any = None,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        *,
        where: str = "Feed",
        purpose: Purpose = "gradients",
    ) -> Feed:
        """One of the two ways to give data, checked. `purpose` says what it must be good for."""
        if (given := _wrong(trainer, optimizer, criterion, batches, loss, purpose)) is not None:
            raise CompressionError(f"{where}: {given}")
        if trainer is not None:
            return cls(trainer, optimizer, criterion, where)
        assert batches is not None
        return cls(_Loop(batches, loss if purpose != "outputs" else None, where), optimizer, None, where)

    def observe(self, model: nn.Module, batches: int | None, on_batch: Callable[[], None] | None = None) -> int:
        """Run the model over so many batches (None: all), or as many as one epoch has, and leave no trace.

        With `on_batch`, a batch is a step of the optimizer: `on_batch` is called with its gradients in place of the
        step. Without, a batch is a call of the model. Returns how many there were.
        """
        limit = math.inf if batches is None else batches
        optimizer = self.optimizer or torch.optim.SGD(model.parameters(), lr=0.0)
        calls = steps = 0

        def before_call(*_: object) -> None:
            nonlocal calls
            if (calls if on_batch is None else steps) >= limit:
                raise _Enough
            calls += 1

        def before_step(stepping: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
            nonlocal steps
            if steps >= limit:
                raise _Enough
            loss = None
            if (closure := closure_of(args, kwargs)) is not None:
                with torch.enable_grad():
                    loss = closure()
            if unscale(stepping):
                if on_batch is not None:
                    with torch.no_grad():
                        on_batch()
                steps += 1
            saved.drop_gradients()
            return None if closure is None else with_closure(lambda: loss, args, kwargs)

        saved = Saved([module for module in (model, self.criterion) if isinstance(module, nn.Module)], optimizer)
        with random_state_kept(), saved.kept(), scoring():
            saved.drop_gradients()
            self._run(model, optimizer, before_call, before_step, lambda *_: None)
        if (seen := calls or steps if on_batch is None else steps) == 0:
            self._complain("stepped its optimizer" if calls else "called the model", calls)
        return seen

    def train(
        self,
        model: nn.Module,
        epochs: int | None = None,
        batches: int | None = None,
        before_step: Callable[[], None] | None = None,
    ) -> None:
        """Train for so many epochs (one by default), each of so many steps at most.

        `before_step` is called with the gradients in place just before each step, and may change them.
        """
        optimizer = self.optimizer
        if optimizer is None or not trains(optimizer, model):
            given = "no optimizer" if optimizer is None else "an optimizer that holds no parameter of the model"
            raise CompressionError(f"{self.where}: given {given}; expected one built on model.parameters()")
        steps = 0

        def before_call(*_: object) -> None:
            if batches is not None and steps >= batches:
                raise _Enough

        def prepare(closure: Callable[[], Any] | None) -> object:
            loss = None if closure is None else closure()
            unscale(optimizer)
            if before_step is not None:
                with torch.no_grad():
                    before_step()
            return loss

        def hook(_: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
            before_call()
            if (closure := closure_of(args, kwargs)) is not None:
                return with_closure(partial(prepare, closure), args, kwargs)
            prepare(None)
            return None

        def after_step(*_: object) -> None:
            nonlocal steps
            steps += 1

        for _ in range(1 if epochs is None else epochs):
            steps = 0
            with modes_kept(model):
                if isinstance(self.trainer, _Loop):
                    model.train()
                self._run(model, optimizer, before_call, hook, after_step)
            if steps == 0:
                self._complain("stepped its optimizer", 0)

    def _run(
        self, model: nn.Module, optimizer: Optimizer, before_call: _Hook, before_step: _Hook, after_step: _Hook
    ) -> None:
        """One epoch, until a hook has enough."""
        with ExitStack() as hooks:
            hooks.callback(model.register_forward_pre_hook(before_call).remove)
            hooks.callback(optimizer.register_step_pre_hook(before_step).remove)
            hooks.callback(optimizer.register_step_post_hook(after_step).remove)
            try:
                with torch.enable_grad():
                    self.trainer(model, optimizer, self.criterion)
            except _Enough:
                pass

    def _complain(self, missing: str, calls: int) -> NoReturn:
        called = f" (it called the model {calls} times)" if calls else ""
        raise CompressionError(
            f"{self.where}.trainer: given a function that never {missing}{called}; expected one that runs an epoch: "
            "the model it is given, loss.backward() and optimizer.step() for each batch"
        )


@dataclass
class _Loop:
    """The training function that batches and a loss make. Without a loss, it only calls the model."""

    batches: Iterable[Any]
    loss: Loss | None
    where: str
    limit: int | None = None
    read: int = 0

    def __call__(self, model: nn.Module, optimizer: Any, _: object) -> None:
        device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), None)
        before = self.read
        for batch in islice(self.batches, self.limit):
            inputs, target = self._split(batch)
            self.read += 1
            with torch.set_grad_enabled(self.loss is not None):
                output = call(model, _moved(inputs, device))
            if self.loss is not None:
                optimizer.zero_grad()
                torch.autograd.backward(self._scalar(self.loss(output, _moved(target, device))))
                optimizer.step()
        if self.read == before:
            raise _no_batch(self.batches, self.where, self.read)

    def _split(self, batch: Any) -> tuple[Any, Any]:
        pair = isinstance(batch, tuple | list)
        if pair and len(batch) == 2:
            return batch[0], batch[1]
        if self.loss is None and (not pair or len(batch) == 1):
            return (batch[0] if pair else batch), None
        given = f"a {type(batch).__name__}" + (f" of {len(batch)}" if pair else "")
        wanted = "(inputs, target)" + (" or the inputs alone" if self.loss is None else "")
        raise CompressionError(f"{self.where}.batches: given {given} as batch {self.read}; expected {wanted}")

    def _scalar(self, loss: object) -> Tensor:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            given = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise CompressionError(f"{self.where}.loss: given {given} for a batch; expected a scalar tensor")
        return loss


def _wrong(
    trainer: object, optimizer: object, criterion: object, batches: object, loss: object, purpose: Purpose
) -> str | None:
    """What is wrong with the data given, the first thing found."""
    if trainer is None and batches is None:
        return "given no data; expected trainer, optimizer and criterion, or batches and loss"
    if trainer is not None and batches is not None:
        return "given both trainer and batches; expected one of them"
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        return f"given {shown(optimizer)} as optimizer; expected a torch.optim.Optimizer"
    if trainer is not None:
        if not _takes_three(trainer):
            return f"given {shown(trainer)} as trainer; expected a function trainer(model, optimizer, criterion)"
        if optimizer is None:
            return "given a trainer without an optimizer; expected the optimizer that it steps"
        return "given trainer and loss; expected trainer and criterion" if loss is not None else None
    if isinstance(batches, Tensor | Mapping | str | bytes) or not isinstance(batches, Iterable):
        return f"given a {type(batches).__name__} as batches; expected an iterable of batches, such as a DataLoader"
    if criterion is not None:
        return "given batches and criterion; expected batches and loss (loss=criterion)"
    if loss is not None and not callable(loss):
        return f"given {shown(loss)} as loss; expected a function loss(output, target)"
    if loss is None and purpose != "outputs":
        return "given batches without a loss; expected loss(output, target) beside them"
    if optimizer is None and purpose == "training":
        return "given batches without an optimizer; expected the optimizer to train with"
    return None


def _takes_three(function: object) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(None, None, None)
    except (TypeError, ValueError) as error:
        return isinstance(error, ValueError)
    return True


def _no_batch(batches: Iterable[Any], where: str, taken: int = 0) -> CompressionError:
    count = f", and {taken} were taken" if taken else ""
    once = f" (an iterator gives its batches once{count}; pass a list or a DataLoader)"
    used_up = once if isinstance(batches, Iterator) else ""
    return CompressionError(f"{where}.batches: given 0 batches; expected at least one{used_up}")


def read(batches: Iterable[Any], limit: int | None, where: str) -> list[Any]:
    """The first batches in a list, for whoever goes over them several times."""
    found = list(islice(batches, limit))
    if not found:
        raise _no_batch(batches, where)
    return found


def run(model: nn.Module, batches: Iterable[Any], *, limit: int | None, where: str) -> None:
    """Call the model with the inputs of each batch, or of so many; what that changes in the model stays changed."""
    if (given := _wrong(None, None, None, batches, None, "outputs")) is not None:
        raise CompressionError(f"{where}: {given}")
    loop = _Loop(batches, None, where, limit)
    loop(model, None, None)


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a model with a tensor, a tuple of arguments or a dict of keyword arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def _moved(value: Any, device: torch.device | None) -> Any:
    """Every tensor of a batch, on the device of the model."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_moved(item, device) for item in value]
    return value
