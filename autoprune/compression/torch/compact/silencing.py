"""A model that computes as its completed masks say while a context lasts, without a second model in memory.

A channel that goes is silenced where it leaves a layer and where it enters one, which is what masking the weights on
both sides does. Other masks that the weights do not obey yet are applied while their layer computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from autoprune.compression.torch.compact.completing import Keeps
from autoprune.compression.torch.compact.cutting import cuts_of
from autoprune.compression.torch.compact.kinds import OVER_CHANNELS, Side, channel_axis
from autoprune.compression.torch.compact.plan import Kept, Plan
from autoprune.compression.torch.compact.telling import swapped

_ROWS = 256


@contextmanager
def as_completed(
    model: nn.Module, plan: Plan, keeps: Keeps, values: Mapping[int, Tensor], small: nn.Module
) -> Iterator[None]:
    """While inside, with these values in the place of some parameters.

    A norm over channels computes with those that stay alone, as that of the smaller model.
    """
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    cuts = cuts_of(model, plan)
    loose = {
        id(parameter): keeps[id(parameter)]
        for parameter in model.parameters()
        if id(parameter) in keeps.keys() - values.keys() and not _obeys(parameter, keeps[id(parameter)])
    }
    other = {number: value.where(keeps[number], 0) if number in keeps else value for number, value in values.items()}
    for own in (parameters[name] for name in plan.layers.keys() & parameters.keys()):
        other[id(own)] = other.get(id(own), own.detach()).where(cuts[id(own)].staying(), 0)
    with ExitStack() as stack:
        stack.enter_context(swapped(model, other))
        for name in plan.layers.keys() & modules.keys():
            for side, kept in plan.layers[name].sides.items():
                over = isinstance(modules[name], OVER_CHANNELS)
                hook = _with_those(modules[name], kept, small.get_submodule(name)) if over else None
                stack.callback((hook or _silence(modules[name], side, kept)).remove)
        for module, caller in _callers(model):
            own_loose = {name: loose[id(value)] for name, value in module._parameters.items() if id(value) in loose}
            if own_loose:
                stack.enter_context(_applied(module, own_loose, caller))
        yield


def _obeys(parameter: Tensor, keep: Tensor) -> bool:
    """Whether what is masked is zero already."""
    value = parameter.detach()
    pairs = zip(torch.split(value, _ROWS), torch.split(keep, _ROWS), strict=True) if value.dim() else [(value, keep)]
    return not any(bool((values.ne(0) & ~kept).any()) for values, kept in pairs)


def _silence(module: nn.Module, side: Side, kept: Kept) -> RemovableHandle:
    flags = torch.zeros(kept.of, dtype=torch.bool)
    flags[torch.tensor(kept.channels)] = True
    axis = channel_axis(module)

    def spread(values: Tensor) -> Tensor:
        shape = [1] * values.dim()
        shape[axis] = -1
        return torch.where(flags.to(values.device).view(shape), values, 0)

    def silent(values: Any) -> Any:
        return values._replace(data=spread(values.data)) if isinstance(values, PackedSequence) else spread(values)

    def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return ((silent(args[0]), *args[1:]), kwargs) if args else (args, {**kwargs, "input": silent(kwargs["input"])})

    def leaving(_: nn.Module, __: object, output: Any) -> Any:
        return silent(output)

    if side == "in":
        return module.register_forward_pre_hook(entering, with_kwargs=True)
    return module.register_forward_hook(leaving, prepend=True)


def _with_those(module: nn.Module, kept: Kept, small: nn.Module) -> RemovableHandle:
    """Let the smaller layer compute the channels that stay, and nothing come out of the others.

    A class of its own may normalise over the second dimension in place of the last.
    """
    last = type(module).forward in (nn.LayerNorm.forward, nn.RMSNorm.forward)

    def leaving(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        given: Tensor = args[0] if args else kwargs["input"]
        axis = -1 if last or given.shape[1] != kept.of else 1
        index = torch.tensor(kept.channels, device=given.device)
        return torch.zeros_like(output).index_copy_(axis, index, small(given.index_select(axis, index)))

    return module.register_forward_hook(leaving, prepend=True, with_kwargs=True)


def _callers(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Every module, and the one whose call computes with it: attention uses its projection without calling it."""
    called = {id(each.out_proj): each for each in model.modules() if isinstance(each, nn.MultiheadAttention)}
    for module in model.modules():
        yield module, called.get(id(module), module)


@contextmanager
def _applied(module: nn.Module, keeps: Mapping[str, Tensor], caller: nn.Module) -> Iterator[None]:
    own = dict(module._parameters)

    def enter(*_: object) -> None:
        for name, keep in keeps.items():
            value = own[name]
            assert value is not None
            module._parameters[name] = nn.Parameter(torch.where(keep, value.detach(), 0), requires_grad=False)

    def leave(*_: object) -> None:
        module._parameters.update(own)

    hooks = [
        caller.register_forward_pre_hook(enter),
        caller.register_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        module._parameters.update(own)
