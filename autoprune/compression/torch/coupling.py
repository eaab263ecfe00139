"""Which filters of which layers are pruned as one.

An atom is what goes or stays as a whole: a channel of all layers that are added, all rows of a head, a group of a
GroupNorm. Layers that share atoms are one group. Of some sets of atoms as many have to go: those in the groups of a
convolution. A graph says all that where a pruner has a `dummy_input`; `groups` of a pruner say it by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch.compact.kinds import Side, axes_of
from autoprune.compression.torch.layers import LayerInfo, filters_first, original

if TYPE_CHECKING:  # what traces a model takes a while to import
    from autoprune.compression.torch.compact.graph import Graph
    from autoprune.compression.torch.compact.limits import Limits

Index: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True)
class Coupling:
    """Layers that are pruned together: for each, in their order, the atom of every filter.

    `rows` has matrices that together hold every atom that may go once. As many go of each row of a matrix.
    """

    atoms: tuple[Index, ...]
    rows: tuple[Index, ...]

    @property
    def count(self) -> int:
        """How many atoms there are."""
        return max(int(atoms.max(initial=-1)) for atoms in self.atoms) + 1

    def going(self, matrix: Index, sparsity: float, multiple: int) -> int:
        """How many atoms go of each row; what stays of the filters of each layer is a multiple, if it has so many."""
        size = max(matrix.shape[1], 1)
        each = [int(np.isin(atoms, matrix).sum()) // size for atoms in self.atoms]
        step = math.lcm(*(multiple // math.gcd(multiple, filters) for filters in each if filters))
        return rounded_count(matrix.shape[1], sparsity, step)


class Tracing:
    """The graph of a model, traced with an example input when it is first asked for."""

    def __init__(self, example_input: Any, where: str = "dummy_input") -> None:
        if not isinstance(example_input, Tensor | tuple | list | Mapping):
            expected = "a tensor, a tuple of arguments or a dict of keyword arguments"
            raise CompressionError(f"{where}: given {shown(example_input)}; expected {expected}")
        self._example_input = example_input
        self._traced: tuple[nn.Module, object, Graph] | None = None

    def __deepcopy__(self, memo: object) -> Tracing:
        return Tracing(self._example_input)

    def graph(self, model: nn.Module) -> Graph:
        """Traced anew only where parameters have come, gone or changed their shape, type or device."""
        from autoprune.compression.torch.compact.tracing import traced

        shapes = [(name, each.shape, each.dtype, each.device) for name, each in model.named_parameters()]
        if self._traced is None or self._traced[0] is not model or self._traced[1] != shapes:
            self._traced = model, shapes, traced(model, self._example_input)
        return self._traced[2]

    def couplings(self, model: nn.Module, infos: Sequence[LayerInfo]) -> list[tuple[list[int], Coupling]]:
        """Layers by the channels that they share, as their places in `infos`, and how they are coupled."""
        from autoprune.compression.torch.compact.limits import limits_of

        graph = self.graph(model)
        return couplings(graph, limits_of(graph, model, inexact=False), model, infos)

    def completed(self, model: nn.Module, keeps: dict[int, Tensor]) -> dict[int, Tensor]:
        """What is kept of parameters, by their identity, extended to all that goes with a channel that can go."""
        from autoprune.compression.torch.compact.completing import completed, gone_channels
        from autoprune.compression.torch.compact.speedup import settle

        graph = self.graph(model)
        if not gone_channels(graph, model, keeps):
            return dict(keeps)
        masks = completed(model, settle(model, keeps, self._example_input, graph).plan, keeps)
        modules = {original(name): module for name, module in model.named_modules()}
        return {
            id(modules[layer].get_parameter(name)): keep for layer, own in masks.items() for name, keep in own.items()
        }


def rounded_count(size: int, sparsity: float, multiple: int) -> int:
    """How many of `size` go at most by this sparsity, if what stays is to be a multiple, or all."""
    stay = size - pruned_count(size, sparsity)
    return max(size - math.ceil(stay / multiple) * multiple, 0)


def filter_count(info: LayerInfo) -> int:
    return len(filters_first(info.module, info.weight))


def same_filters(infos: Sequence[LayerInfo]) -> Coupling:
    """Layers of as many filters each, coupled one by one; a convolution of groups loses as many in each."""
    count = filter_count(infos[0])
    groups = math.lcm(*(_groups(info, count) for info in infos))
    every = np.arange(count, dtype=np.intp)
    return Coupling((every,) * len(infos), (every.reshape(groups, -1),))


def _groups(info: LayerInfo, count: int) -> int:
    """The groups of a convolution; a depthwise one follows its input, filter by filter, and has none of its own."""
    groups = int(getattr(info.module, "groups", 1))
    return groups if groups < count else 1


def couplings(
    graph: Graph, limits: Limits, model: nn.Module, infos: Sequence[LayerInfo], apart: Iterable[Index] = ()
) -> list[tuple[list[int], Coupling]]:
    """Layers by the channels that they share, as their places in `infos`, and how they are coupled.

    Atoms of which these sets of units have not as much are kept `apart`, in rows of their own.
    """
    count, units = graph.count, []
    for info in infos:
        own, size = units_of(graph, model, info), filter_count(info)
        units.append(own if len(own) == size else np.arange(count, count + size))
        count += size
    atom = _joined((part for each in limits.bundles if len(each.sets) > 1 for part in each.sets), count)
    atoms = [atom[own] for own in units]
    group = _grouped(atoms)
    place = np.full(count, -1, dtype=np.intp)
    for number, own in zip(group, atoms, strict=True):
        place[own] = number
    balanced = _by_group((atom[part] for each in limits.balances for part in (*each.inputs, *each.outputs)), place)
    others = _by_group((atom[each] for each in apart), place)
    members = {number: np.flatnonzero(group == number).tolist() for number in dict.fromkeys(group.tolist())}
    return [
        (own, _coupling([atoms[member] for member in own], balanced.get(number, []), others.get(number, [])))
        for number, own in members.items()
    ]


def _grouped(atoms: Sequence[Index]) -> Index:
    """The group of each layer: those that share an atom are in one."""
    owners: dict[int, list[int]] = {}
    for layer, own in enumerate(atoms):
        for each in np.unique(own).tolist():
            owners.setdefault(each, []).append(layer)
    return _joined((np.array(layers) for layers in owners.values()), len(atoms))


def _by_group(sets: Iterable[Index], group: Index) -> dict[int, list[Index]]:
    """What each group has of these sets of atoms."""
    found: dict[int, list[Index]] = {}
    for each in sets:
        for number in np.unique(group[each]).tolist():
            found.setdefault(number, []).append(each[group[each] == number])
    return found


def units_of(graph: Graph, model: nn.Module, info: LayerInfo) -> Index:
    """The units of the filters of a layer; of one that the graph does not have, none."""
    names = {name for name, module in model.named_modules() if module is info.module}
    node = next((node for node in graph.layers() if node.name in names), None)
    side: Side = "out" if node is not None and "out" in node.sides else "both"
    axes = [axis for axis in axes_of(info.module, side) if axis.name == info.parameter]
    first = isinstance(info.module, _ConvTransposeNd) or any(axis.dimension % info.weight.dim() == 0 for axis in axes)
    return node.leaving if node is not None and axes and first else np.zeros(0, dtype=np.intp)


def _joined(sets: Iterable[Index], count: int) -> Index:
    """Numbers from 0 to `count`, those that are in one set made equal."""
    labels = np.arange(count, dtype=np.intp)
    for each in sets:
        touched = np.unique(labels[each])
        if touched.size > 1:
            labels[np.isin(labels, touched)] = touched[0]
    return labels


def _coupling(atoms: Sequence[Index], balanced: Sequence[Index], apart: Sequence[Index]) -> Coupling:
    """Atoms numbered in the order of filters, and sorted into those of which as many go."""
    listed = np.concatenate(atoms)
    names, first = np.unique(listed, return_index=True)
    place = np.empty(len(names), dtype=np.intp)
    place[np.argsort(first)] = np.arange(len(names))

    def numbered(given: Index) -> Index:
        return place[np.searchsorted(names, given)]

    def counts(given: Iterable[Index]) -> Index:
        """How much of each atom is in these sets: a column for each set."""
        columns = [np.bincount(numbered(each), minlength=len(names)) for each in given]
        return np.stack(columns, axis=1) if columns else np.zeros((len(names), 0), dtype=np.intp)

    inside = counts(balanced)
    alike = np.concatenate([inside, counts(atoms), counts(apart)], axis=1)
    kind = np.unique(alike, axis=0, return_inverse=True)[1].reshape(-1)
    sorts = [np.flatnonzero(kind == number) for number in dict.fromkeys(kind.tolist())]
    rows = [each.reshape(1, -1) for each in sorts if not inside[each[0]].any()]
    if bound := [each for each in sorts if inside[each[0]].any()]:
        size = math.gcd(*map(len, bound))
        rows.append(np.concatenate([each.reshape(-1, size) for each in bound]))
    return Coupling(tuple(map(numbered, atoms)), tuple(rows))
