"""Which channels of a model can really go, which of them together, and in which steps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd

from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch.compact.agreement import Flags, staying
from autoprune.compression.torch.compact.completing import Keeps, gone_channels
from autoprune.compression.torch.compact.graph import Graph, Units
from autoprune.compression.torch.compact.limits import Limits, limits_of
from autoprune.compression.torch.compact.speedup import settle
from autoprune.compression.torch.compact.tracing import traced
from autoprune.compression.torch.coupling import Coupling, couplings, units_of
from autoprune.compression.torch.layers import LayerInfo, as_stored, filters_first, layers_of, uncalled
from autoprune.errors import UsageError

_WITH_FILTERS = (_ConvNd, nn.Linear)
_SHOWN = 8


@dataclass(frozen=True)
class Channels:
    """Layers that lose their channels together. `units` are those of the filters of each in their order, and `weights`
    is how many each has."""

    coupling: Coupling
    units: tuple[Units, ...]
    weights: Mapping[str, int]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.weights)

    @cached_property
    def sparsities(self) -> tuple[float, ...]:
        """Those at which one step more goes, from none on; one channel of each kind stays."""
        shares = {Fraction(gone, rows.shape[1]) for rows in self.coupling.rows for gone in range(rows.shape[1])}
        return tuple(map(float, sorted(shares)))

    @property
    def steps(self) -> int:
        """How many can go."""
        return len(self.sparsities) - 1

    def nearest(self, sparsity: float) -> int:
        """How many steps come nearest to it; of two that are as near, the fewer."""
        above = min(bisect_left(self.sparsities, sparsity), self.steps)
        below = max(above - 1, 0)
        return below if sparsity - self.sparsities[below] <= self.sparsities[above] - sparsity else above

    def gone(self, sparsity: float) -> list[int]:
        """How many of each row of each matrix of atoms go."""
        return [pruned_count(rows.shape[1], sparsity) for rows in self.coupling.rows]

    def filters_gone(self, sparsity: float) -> dict[str, int]:
        """How many filters of each layer go."""
        pruned = self.atoms_gone(self.gone(sparsity))
        return {layer: int(pruned[own].sum()) for layer, own in zip(self.layers, self.coupling.atoms, strict=True)}

    def units_gone(self, gone: Sequence[int], count: int) -> Flags:
        """Of so many units of a graph, those that go with the first atoms of each row, so many of each matrix."""
        pruned, flags = self.atoms_gone(gone), np.zeros(count, dtype=np.bool_)
        for own, atoms in zip(self.units, self.coupling.atoms, strict=True):
            flags[own[pruned[atoms]]] = True
        return flags

    def atoms_gone(self, gone: Sequence[int]) -> Flags:
        """The first atoms of each row, so many of each matrix."""
        pruned = np.zeros(self.coupling.count, dtype=np.bool_)
        for rows, number in zip(self.coupling.rows, gone, strict=True):
            pruned[rows[:, :number]] = True
        return pruned


@dataclass(frozen=True)
class Removable:
    """The channels of a model that can go, as its graph has them: the same for every copy of it, whatever its weights.

    `tried` is a smaller model, in which `steps` of each have gone.
    """

    graph: Graph
    limits: Limits
    channels: tuple[Channels, ...]
    tried: nn.Module
    steps: tuple[int, ...]


def removable(model: nn.Module, example: Any) -> Removable:
    """What can be removed of a model, which half of it is removed to find out: what stays then can not go."""
    graph = traced(model, example)
    limits = limits_of(graph, model, inexact=False)
    found = tuple(_channels(graph, limits, model))
    found, reasons = _without(found, limits.fixed, graph)
    while found:
        if apart := _unequal(limits, found, graph):
            found, more = _without(found, apart, graph)
            reasons |= more
            continue
        steps = tuple((each.steps + 1) // 2 for each in found)
        keeps = _keeps(model, found, steps)
        settled = settle(model, keeps, example, graph)
        gone = gone_channels(graph, model, keeps)
        stay = staying(graph, gone, settled.limits, settled.agreement)
        if not stay:
            return Removable(graph, limits, found, settled.small, steps)
        found, more = _without(found, stay, graph)
        reasons |= more
    said = [f"{layer}: {reason}" for layer, reason in reasons.items()]
    hidden = [f"and {len(said) - _SHOWN} more"] if len(said) > _SHOWN else []
    why = "; ".join([*said[:_SHOWN], *hidden]) or "it calls no convolution and no linear layer"
    raise UsageError(
        f"given a model of which no filter can be removed ({why}); expected one of which some can, or pruners of "
        "single weights, such as level"
    )


def cut(model: nn.Module, found: Removable, steps: Sequence[int], example: Any) -> nn.Module:
    """The model without so many steps of each of its channels, whichever weights they have: the first go."""
    return settle(model, _keeps(model, found.channels, steps), example, found.graph).small


def losses_of(channels: Sequence[Channels], count: int) -> NDArray[np.intp]:
    """Which of so many units go with one atom of each row: a column for each matrix of all the channels."""
    columns = [
        each.units_gone(one, count) for each in channels for one in np.eye(len(each.coupling.rows), dtype=int).tolist()
    ]
    return np.stack(columns, axis=1).astype(np.intp)


def _channels(graph: Graph, limits: Limits, model: nn.Module) -> Iterator[Channels]:
    """All there are; the atoms of a matrix cost the same, wherever they are read, and can all go or can not."""
    read = [units for node in graph.layers() for units in node.sides.values()]
    infos = _with_filters(model, graph)
    for places, coupling in couplings(graph, limits, model, infos, [*read, np.array([*limits.fixed], dtype=np.intp)]):
        own = [infos[place] for place in places]
        units = tuple(units_of(graph, model, info) for info in own)
        if all(len(mine) == len(atoms) for mine, atoms in zip(units, coupling.atoms, strict=True)):
            yield Channels(coupling, units, {info.name: info.weight.numel() for info in own})


def _with_filters(model: nn.Module, graph: Graph) -> list[LayerInfo]:
    """The layers whose filters are channels, each weight once."""
    modules = dict(model.named_modules())
    reached, hidden = {node.name for node in graph.layers()}, uncalled(model)
    found: dict[int, LayerInfo] = {}
    for layer in layers_of(model):
        module = modules.get(layer.name)
        seen = layer.name in reached and id(module) not in hidden
        if seen and isinstance(module, _WITH_FILTERS) and layer.tensor is not None:
            found.setdefault(layer.tensor, LayerInfo(layer.name, module, layer.parameter, {}))
    return list(found.values())


def _without(
    channels: Sequence[Channels], why: Mapping[int, str], graph: Graph
) -> tuple[tuple[Channels, ...], dict[str, str]]:
    """The channels that can go where these units can not; and for the other layers, why they stay."""
    left = np.zeros(graph.count, dtype=np.bool_)
    left[list(why)] = True
    kept: list[Channels] = []
    reasons: dict[str, str] = {}
    for each in channels:
        going = tuple(rows for rows in each.coupling.rows if not _has(each, rows, left))
        remaining = replace(each, coupling=replace(each.coupling, rows=going))
        if going and remaining.steps:
            kept.append(remaining)
        else:
            stuck = [why[unit] for own in each.units for unit in own.tolist() if unit in why]
            reasons |= dict.fromkeys(each.layers, stuck[0] if stuck else "its channels go all together or not at all")
    return tuple(kept), reasons


def _unequal(limits: Limits, channels: Sequence[Channels], graph: Graph) -> dict[int, str]:
    """Units that have to go in equal numbers, and are in channels that do not go together; and why they have to."""
    losses = losses_of(channels, graph.count)
    found: dict[int, str] = {}
    for balance in limits.balances:
        for parts in (balance.inputs, balance.outputs):
            if len({tuple(losses[units].sum(0).tolist()) for units in parts}) > 1:
                found |= dict.fromkeys(np.concatenate(parts).tolist(), balance.reason)
    return found


def _has(channels: Channels, rows: Units, units: Flags) -> bool:
    """Whether one of these atoms has one of the units."""
    pairs = zip(channels.units, channels.coupling.atoms, strict=True)
    return any(bool(units[own[np.isin(atoms, rows)]].any()) for own, atoms in pairs)


def _keeps(model: nn.Module, channels: Sequence[Channels], steps: Sequence[int]) -> Keeps:
    """Masks of the weights, without so many steps of each."""
    keeps: Keeps = {}
    for each, step in zip(channels, steps, strict=True):
        pruned = each.atoms_gone(each.gone(each.sparsities[step]))
        for layer, atoms in zip(each.layers, each.coupling.atoms, strict=True):
            module = model.get_submodule(layer)
            weight = module.get_parameter("weight")
            keep = torch.ones_like(filters_first(module, weight), dtype=torch.bool)
            keep[torch.from_numpy(pruned[atoms]).to(keep.device)] = False
            keeps[id(weight)] = as_stored(module, keep)
    return keeps
