"""What is left of a model in plain numbers, when so many channels of each kind have gone: without cutting it.

A tensor keeps of each dimension the share that its channels keep, and so do the multiply-accumulates of its layer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from autoprune.compression.torch.compact.kinds import axes_of
from autoprune.compression.torch.compact.limits import Heads
from autoprune.compression.torch.layers import prunable
from autoprune.compression.torch.measuring.counting import tensors_of
from autoprune.compression.torch.measuring.macs import count_macs
from autoprune.errors import UsageError, did_you_mean
from autoprune.search.channels import Removable, losses_of

Steps: TypeAlias = Sequence[int]
"""How many steps of each of the model's channels have gone."""

Holder: TypeAlias = int | str
"""What keeps a share of its channels: a tensor, by its identity, or the heads of a module, by its name."""

Amounts: TypeAlias = Iterable[tuple[int, Holder]]
"""Numbers that make up a figure, and what they shrink with."""


class Figure(Protocol):
    """What a budget limits: a number that does not grow when one step more goes."""

    def __call__(self, steps: Steps) -> float: ...


@dataclass(frozen=True)
class Side:
    """So many channels, of which some go with one atom of each row of a matrix: pairs of its number, and how many."""

    size: int
    lost: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sum:
    """A figure made of amounts that keep the shares of some sides. `gone` has what goes of the matrices of each of the
    channels, by step."""

    amounts: Mapping[tuple[Side, ...], int]
    gone: Sequence[Sequence[Sequence[int]]]

    def __call__(self, steps: Steps) -> int:
        gone = [number for by_step, step in zip(self.gone, steps, strict=True) for number in by_step[step]]
        kept = [side.size - sum(gone[matrix] * each for matrix, each in side.lost) for side in self._sides]
        return sum(amount * prod(kept[side] for side in own) // whole for amount, own, whole in self._terms)

    @cached_property
    def _sides(self) -> list[Side]:
        return list(dict.fromkeys(side for own in self.amounts for side in own))

    @cached_property
    def _terms(self) -> list[tuple[int, list[int], int]]:
        """Each amount, the sides whose shares it keeps, by number, and the product of their sizes."""
        numbers = {side: number for number, side in enumerate(self._sides)}
        return [
            (amount, [numbers[side] for side in own], prod(side.size for side in own))
            for own, amount in self.amounts.items()
        ]


def figure_of(kind: str, model: nn.Module, example: Any, found: Removable) -> Sum:
    """The figure that a budget of this kind limits, seen to be right of a model that was really cut."""
    if kind not in _COUNTED:
        hint = did_you_mean(kind, [*_COUNTED])
        raise UsageError(f"budget.{kind}: given with pruners of filters; expected a budget of another kind ({hint})")
    count = _COUNTED[kind]
    figure = _sum(count(model, example, found), model, found)
    worked_out, real = figure(found.steps), sum(amount for amount, _ in count(found.tried, example, found))
    if worked_out != real:
        raise UsageError(
            f"budget.{kind}: given a model of which it does not follow from the channels of its layers (without half "
            f"of them, {worked_out} was worked out, and {real} is true); expected a budget of another kind"
        )
    return figure


def figure_of_layers(amounts: Mapping[str, int], model: nn.Module, found: Removable) -> Sum:
    """The sum of what layers have, if all of it shrinks with their weights; what is in no layer with weights stays."""
    return _sum(_by_weights(amounts, model), model, found)


def _sum(amounts: Amounts, model: nn.Module, found: Removable) -> Sum:
    sides = _sides(model, found)
    by_sides: Counter[tuple[Side, ...]] = Counter()
    for amount, holder in amounts:
        by_sides[sides.get(holder, ())] += amount
    return Sum(by_sides, [[each.gone(sparsity) for sparsity in each.sparsities] for each in found.channels])


def _weights(model: nn.Module, example: Any, found: Removable) -> Amounts:
    for channels in found.channels:
        for layer in channels.layers:
            weight = model.get_submodule(layer).get_parameter("weight")
            yield weight.numel(), id(weight)


def _parameters(model: nn.Module, example: Any, found: Removable) -> Amounts:
    return ((parameter.numel(), id(parameter)) for parameter in model.parameters())


def _bytes(model: nn.Module, example: Any, found: Removable) -> Amounts:
    return ((tensor.numel() * tensor.element_size(), id(tensor)) for tensor in tensors_of(model))


def _macs(model: nn.Module, example: Any, found: Removable) -> Amounts:
    return _by_weights(count_macs(model, example).layers, model)


def _by_weights(amounts: Mapping[str, int], model: nn.Module) -> Amounts:
    """What each layer has, divided among its weights."""
    modules = dict(model.named_modules())
    for name, amount in amounts.items():
        own = [modules[name].get_parameter(weight) for weight in prunable(modules[name])]
        total = sum(weight.numel() for weight in own)
        yield from ((amount * weight.numel() // total, id(weight)) for weight in own)
        if not own:
            yield amount, name


_COUNTED: Mapping[str, Callable[[nn.Module, Any, Removable], Amounts]] = {
    "sparsity": _weights,
    "parameters": _parameters,
    "macs": _macs,
    "size": _bytes,
}
"""By the kind of budget: of a sparsity, what it limits is the weights of the searched layers that are left."""


def _sides(model: nn.Module, found: Removable) -> dict[Holder, tuple[Side, ...]]:
    """The sides of each tensor that can lose channels, and of attention with heads."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    losses = losses_of(found.channels, found.graph.count)
    by_dimension: dict[Holder, dict[int, Side]] = defaultdict(dict)
    for node in found.graph.layers():
        name = node.name or ""
        for which, units in node.sides.items():
            side = _side(losses[units])
            if name in parameters:
                by_dimension[id(parameters[name])][node.dimension or 0] = side
                continue
            for axis in axes_of(modules[name], which):
                tensor = getattr(modules[name], axis.name)
                by_dimension[id(tensor)][axis.dimension % tensor.dim()] = side
    for heads in found.limits.bundles:
        if isinstance(heads, Heads):
            by_dimension[heads.module][0] = _side(losses[np.concatenate(heads.sets)])
    return {holder: tuple(side for side in own.values() if side.lost) for holder, own in by_dimension.items()}


def _side(losses: NDArray[np.intp]) -> Side:
    """From what each of its channels goes with."""
    lost = losses.sum(0)
    return Side(len(losses), tuple((matrix, int(lost[matrix])) for matrix in np.flatnonzero(lost).tolist()))
