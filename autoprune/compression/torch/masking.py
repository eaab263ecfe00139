"""The mask engine: one mask for each parameter, kept whatever the training loop does.

The parameter stays a plain `nn.Parameter` and the module a plain module, so state_dict, torch.compile and export
see nothing. A mask is enforced after every optimizer step by a hook that is global to `torch.optim`, and gradients
are masked as they accumulate, so that clipping sees the norm of the sparse model. Enforcing is a bitwise AND on
the integer view of the values: it costs what a multiplication costs, and a pruned weight comes out as +0.0 where
multiplying would leave -0.0, or NaN for a gradient that overflowed.

The masks of a module live in its `__dict__`, and so follow `copy.deepcopy` and pickling. Several pruners may mask
one parameter: each holds a vote, and an element is kept while no vote is against it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.core.selection import STRETCH

_ATTRIBUTE = "_autoprune_masks"
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Request:
    """What a pruner was asked for: the sparsity now, and the one its schedule ends at."""

    pruner: str
    sparsity: float | None
    target: float | None
    pooled: bool = False


@dataclass(frozen=True)
class Vote:
    """What one pruner keeps of a parameter. One that `grows` needs the gradients of what it prunes."""

    keep: Tensor
    request: Request
    grows: bool = False


class Masked:
    """A parameter, who prunes what of it, and the values that are pruned at present."""

    def __init__(self, parameter: nn.Parameter, votes: dict[str, Vote], shadow: Tensor | None) -> None:
        self.parameter = parameter
        self.votes = votes
        self._shadow = shadow
        self._bits: Tensor | None = None
        self._handle = _hook_gradient(parameter)
        _masked[id(parameter)] = self

    @classmethod
    def of(cls, parameter: nn.Parameter) -> Masked:
        return cls(parameter, {}, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Masked:
        votes = {owner: replace(vote, keep=vote.keep.clone()) for owner, vote in self.votes.items()}
        shadow = None if self._shadow is None else self._shadow.clone()
        return Masked(copy.deepcopy(self.parameter, memo), votes, shadow)

    def __reduce__(self) -> tuple[Callable[..., Masked], tuple[nn.Parameter, dict[str, Vote], Tensor | None]]:
        return Masked, (self.parameter, self.votes, self._shadow)

    def moved_to(self, parameter: nn.Parameter) -> Masked:
        """The same masks on the parameter that has taken this one's place in the module."""
        return Masked(parameter, dict(self.votes), self._shadow)

    def kept(self) -> Tensor:
        """True where no pruner prunes. Not to be written to: it may be a pruner's own mask."""
        keeps = [vote.keep.to(self.parameter.device) for vote in self.votes.values()]
        return reduce(torch.logical_and, keeps) if keeps else torch.ones_like(self.parameter, dtype=torch.bool)

    def vote(self, owner: str) -> Tensor | None:
        """What `owner` keeps, on the device of the parameter; None where it has no say. Not to be written to."""
        vote = self.votes.get(owner)
        return None if vote is None else vote.keep.to(self.parameter.device)

    def dense(self) -> Tensor:
        """The trained values of kept elements and the last values of pruned ones."""
        value = self.parameter.detach()
        return torch.where(self.kept(), value, self._follow()) if self.votes else value.clone()

    @torch.no_grad()
    def set_vote(self, owner: str, vote: Vote) -> None:
        self._change({**self.votes, owner: vote})

    @torch.no_grad()
    def drop_vote(self, owner: str, *, keep_zeros: bool) -> None:
        if keep_zeros:
            shadow = self._follow()
            self._shadow = torch.where(self.votes[owner].keep.to(shadow.device), shadow, 0)
        self._change({name: vote for name, vote in self.votes.items() if name != owner})

    def put_back(self, owner: str, vote: Vote | None) -> None:
        """Undo a vote: the one before it, or none."""
        if vote is not None:
            self.set_vote(owner, vote)
        elif owner in self.votes:
            self.drop_vote(owner, keep_zeros=False)

    @torch.no_grad()
    def adopt(self) -> None:
        """Take over values written from outside: a dense tensor renews the shadow, a sparse one leaves it."""
        value = self.parameter.detach()
        if bool((value.masked_fill(self.kept(), 0) != 0).any()):
            self._shadow = value.clone()
        self.enforce()

    def enforce(self) -> None:
        """Make every pruned element zero again."""
        if self.votes:
            self._erase(self.parameter.detach())

    def mask_gradient(self) -> None:
        gradient = self.parameter.grad
        if gradient is None or not self.votes or any(vote.grows for vote in self.votes.values()):
            return
        if gradient.layout == torch.strided:
            self._erase(gradient.detach())
        else:
            self.parameter.grad = _mask_sparse(gradient, self.kept())

    def release(self) -> None:
        if self._handle is not None:
            self._handle.remove()
        _masked.pop(id(self.parameter), None)

    def _change(self, votes: dict[str, Vote]) -> None:
        dense, before = self.dense(), self.votes
        self.votes, self._shadow, self._bits = votes, dense, None
        if before:
            self.parameter.copy_(dense)
        if votes:
            _erase_once(self.parameter.detach(), self.kept())
        self.mask_gradient()

    def _erase(self, values: Tensor) -> None:
        integer = _INTEGERS.get(values.element_size())
        if integer is None:
            values.masked_fill_(~self.kept(), 0)
            return
        bits = self._bits
        if bits is None or (bits.dtype, bits.device, bits.stride()) != (integer, values.device, values.stride()):
            bits = self._bits = torch.empty_like(values, dtype=integer).copy_(self.kept()).neg_()
        values.view(integer).bitwise_and_(bits)

    def _follow(self) -> Tensor:
        """The shadow, on the device and of the type that the model has been moved to."""
        value = self.parameter.detach()
        self._shadow = value.clone() if self._shadow is None else self._shadow.to(value)
        return self._shadow


class _Site:
    """The masked parameters of one module, and the hook that renews them when a state_dict is loaded."""

    def __init__(self, module: nn.Module) -> None:
        self.masked: dict[str, Masked] = {}
        register: Any = module.register_load_state_dict_post_hook
        self.hook: RemovableHandle = register(_after_load)


_masked: WeakValueDictionary[int, Masked] = WeakValueDictionary()


def _site(module: nn.Module) -> _Site | None:
    site: _Site | None = module.__dict__.get(_ATTRIBUTE)
    return site


def sites(model: nn.Module) -> Iterator[object]:
    """What holds the masks of each module: for a copy that is to have none."""
    return (site for module in model.modules() if (site := _site(module)) is not None)


def forget(model: nn.Module) -> None:
    """Let go of every mask of a copy, giving nothing back."""
    for module in model.modules():
        module.__dict__.pop(_ATTRIBUTE, None)
        hooks = module._load_state_dict_post_hooks
        for number in [number for number, hook in hooks.items() if hook is _after_load]:
            del hooks[number]


def find(module: nn.Module, name: str) -> Masked | None:
    """What masks the parameter `name` of this very module, if anything."""
    site = _site(module)
    return _current(module, site, name) if site is not None and name in site.masked else None


def attach(module: nn.Module, name: str) -> Masked:
    """The engine's hold on a parameter; a parameter that is masked already, here or elsewhere, has only one."""
    if (held := find(module, name)) is not None:
        return held
    site = _site(module)
    if site is None:
        site = module.__dict__[_ATTRIBUTE] = _Site(module)
    parameter = module.get_parameter(name)
    held = _masked.get(id(parameter)) or Masked.of(parameter)
    site.masked[name] = held
    return held


def all_masked(model: nn.Module) -> Iterator[tuple[nn.Module, str, Masked]]:
    """Every masked parameter of a model, with the module it was found in."""
    for module in model.modules():
        if (site := _site(module)) is not None:
            for name in list(site.masked):
                yield module, name, _current(module, site, name)


def drop(model: nn.Module, owner: str | None, *, keep_zeros: bool) -> None:
    """Withdraw a pruner, or all, from a model; a module that nobody masks any more is as it was before.

    Where the parameter is gone there is nothing to give back to, and its mask is forgotten.
    """
    for module in list(model.modules()):
        site = _site(module)
        for name in list(site.masked) if site is not None else ():
            if _is_gone(module, name):
                _forget(module, name)
                continue
            held = attach(module, name)
            for voter in [each for each in held.votes if owner in (each, None)]:
                held.drop_vote(voter, keep_zeros=keep_zeros)
    tidy(model)


def tidy(model: nn.Module) -> None:
    """Let go of parameters that nobody masks."""
    for module in list(model.modules()):
        site = _site(module)
        for name, held in list(site.masked.items()) if site is not None else ():
            if not held.votes:
                held.release()
                _forget(module, name)


def _is_gone(module: nn.Module, name: str) -> bool:
    """Whether the parameter that was masked can not be given anything back."""
    site, parameter = _site(module), module._parameters.get(name)
    assert site is not None
    return parameter is None or parameter.is_meta or parameter.shape != site.masked[name].parameter.shape


def _forget(module: nn.Module, name: str) -> None:
    site = _site(module)
    assert site is not None
    del site.masked[name]
    if not site.masked:
        site.hook.remove()
        del module.__dict__[_ATTRIBUTE]


def _current(module: nn.Module, site: _Site, name: str) -> Masked:
    """What masks a parameter, following it when the module was given a new Parameter of that name."""
    held, parameter = site.masked[name], module._parameters.get(name)
    if parameter is None or parameter.shape != held.parameter.shape:
        now = "none any more" if parameter is None else f"one of shape {tuple(parameter.shape)}"
        raise CompressionError(
            f"given a masked {type(module).__name__} whose parameter {name!r}, of shape {tuple(held.parameter.shape)}, "
            f"is {now}; expected the one that was masked (unwrap() takes the masks off; call it before a layer is "
            "parametrized or resized)"
        )
    if held.parameter is not parameter:
        held = _masked.get(id(parameter)) or held.moved_to(parameter)
        site.masked[name] = held
        held.adopt()
    return held


def _after_load(module: nn.Module, _: object) -> None:
    if (site := _site(module)) is not None:
        for name in list(site.masked):
            _current(module, site, name).adopt()


def _after_step(optimizer: Optimizer, _args: object, _kwargs: object) -> None:
    if _masked:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if (held := _masked.get(id(parameter))) is not None:
                    held.enforce()


def _after_gradient(parameter: Tensor) -> None:
    if (held := _masked.get(id(parameter))) is not None:
        held.mask_gradient()


def _hook_gradient(parameter: nn.Parameter) -> RemovableHandle | None:
    """Hook the gradient, of a frozen parameter too: it may be thawed later."""
    if not (parameter.is_floating_point() or parameter.is_complex()):
        return None
    trains = parameter.requires_grad
    parameter.requires_grad_(True)
    register: Any = parameter.register_post_accumulate_grad_hook
    handle: RemovableHandle = register(_after_gradient)
    parameter.requires_grad_(trains)
    return handle


def _erase_once(values: Tensor, keep: Tensor) -> None:
    """Zero what is not kept, without tensors of the size of the values; stretches of them fit the cache."""
    integer = _INTEGERS.get(values.element_size())
    if integer is None or values.device.type != "cpu" or not (values.is_contiguous() and keep.is_contiguous()):
        values.masked_fill_(~keep, 0)
        return
    bits, marks = values.view(-1).view(integer), keep.view(-1)
    for start in range(0, bits.numel(), STRETCH):
        bits[start : start + STRETCH].bitwise_and_(marks[start : start + STRETCH].to(integer).neg_())


def _mask_sparse(gradient: Tensor, keep: Tensor) -> Tensor:
    gradient = gradient.coalesce()
    index = gradient.indices()
    values = torch.where(keep[tuple(index)], gradient.values(), 0)
    return torch.sparse_coo_tensor(index, values, gradient.shape, check_invariants=False, is_coalesced=True)


register_optimizer_step_post_hook(_after_step)
