"""A model as it is traced: its inputs and outputs marked, its parts told apart, its recurrent layers in one step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import each_tensor, tensors
from autoprune.compression.torch.untouched import eager, random_state_kept, undisturbed

_RECURRING = (nn.LSTM.forward, nn.GRU.forward, nn.RNN.forward)
_UNBINDING = {torch.unbind, Tensor.unbind}
_SPLITTING = {getattr(owner, name) for owner in (torch, Tensor) for name in ("split", "chunk", "tensor_split")}


class Input(nn.Module):
    """Marks what comes from outside, so that the graph begins there."""

    entered = False
    channels: int | None = None
    has_channels = False

    def forward(self, given: Tensor) -> Tensor:
        """Of three dimensions, any may have the channels; a vector of factors, or a single channel, has none."""
        self.entered = True
        self.channels = given.shape[1] if given.dim() in (2, 4, 5) and given.shape[1] > 1 else None
        self.has_channels = self.channels is not None or given.dim() == 3
        return given.detach().clone().requires_grad_(True) * 1


class Framed(nn.Module):
    """A model with its inputs and outputs marked."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.inputs = nn.ModuleList()

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        given: Any = each_tensor(kwargs, self._entering) if kwargs else each_tensor(args, self._entering)
        with _PartsApart():
            returned = call(self.model, given)
        outputs = [tensor * 1 for tensor in tensors(returned) if tensor.requires_grad]
        if not outputs:
            raise CompressionError(
                "given a model whose output has no tensor that depends on its parameters; "
                "expected tensors, in tuples, lists or dicts if there are several"
            )
        return outputs

    def _entering(self, given: Tensor) -> Tensor:
        if not given.is_floating_point():
            return given.clone()
        mark = next(mark for mark in self.inputs if isinstance(mark, Input) and not mark.entered)
        entered: Tensor = mark(given)
        return entered


class _PartsApart(TorchFunctionMode):
    """A tensor is cut in one way, by sizes, and each part goes through an operation of its own, by which it is told."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        parts = func(*args, **named)
        if func not in _SPLITTING | _UNBINDING or not all(part.requires_grad for part in parts):
            return parts
        if func in _SPLITTING:
            given: Any = args[0] if args else named.get("input", named.get("tensor"))
            dimension = named.get("dim", args[2] if len(args) > 2 else 0)
            sizes = [part.shape[dimension] for part in parts]
            if sum(sizes) != given.shape[dimension] or 0 in sizes:
                return parts
            parts = torch.split(given, sizes, dimension)
        return tuple(part * 1 for part in parts)


@contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """While inside, autograd follows all of a model, as it was written; afterwards the model is as before."""
    with warnings.catch_warnings(), eager(), _undone(model), _whole_recurrence(model):
        for message in ("Converting a tensor with requires_grad=True to a scalar", "Maximum recursive depth reached"):
            warnings.filterwarnings("ignore", message=message)
        with torch.inference_mode(False), torch.enable_grad():
            yield


@contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    """Tracing puts a model into evaluation mode, hooks it, and needs every parameter to have a gradient."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    hooks = [(module, dict(module._forward_hooks)) for module in model.modules()]
    floating = [parameter for parameter in frozen if parameter.is_floating_point() or parameter.is_complex()]
    try:
        with undisturbed(model), random_state_kept():
            for parameter in floating:
                parameter.requires_grad_(True)
            yield
    finally:
        for parameter in floating:
            parameter.requires_grad_(False)
        for module, before in hooks:
            for number in [number for number in module._forward_hooks if number not in before]:
                del module._forward_hooks[number]


@contextmanager
def _whole_recurrence(model: nn.Module) -> Iterator[None]:
    """Recurrent layers as one operation each: torch unrolls some, step by step, and the paths through them explode."""
    layers = [module for module in model.modules() if getattr(type(module), "forward", None) in _RECURRING]
    for layer in layers:
        layer.forward = partial(_one_operation, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _one_operation(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """What the layer gives, as if its output came from its input, and its states from its output, in one step."""
    with torch.no_grad():
        output, state = forward(*args, **kwargs)
    joined = next(tensors(output)) + next(tensors([*args, kwargs])).sum() * 0
    states = each_tensor(state, lambda each: each + joined.sum() * 0)
    return output._replace(data=joined) if isinstance(output, PackedSequence) else joined, states
