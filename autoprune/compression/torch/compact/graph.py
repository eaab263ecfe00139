"""Which channels of which layers go together, as records.

A unit is a set of channels that can only be removed together: those of a residual stream with the same index, a
channel with all that a flatten makes of it, a filter with its BatchNorm and with the columns of what reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from autoprune.compression.torch.compact.kinds import Side

Units: TypeAlias = NDArray[np.intp]
NONE: Units = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class Node:
    """A layer, a parameter of its own, or an operation: what flows into it, and the units of its channels.

    A parameter has its channels along a `dimension`; an operation may cut them into `parts` of one size, or be one
    that `compares` them.
    """

    name: str | None
    operation: str
    inputs: tuple[int, ...]
    sides: Mapping[Side, Units]
    dimension: int | None = None
    parts: int = 1
    compares: bool = False

    @property
    def is_parameter(self) -> bool:
        return self.dimension is not None

    @property
    def leaving(self) -> Units:
        """The units of what comes out of it."""
        return self.sides.get(leaving_side(self), NONE)


def leaving_side(node: Node) -> Side:
    return "out" if "out" in node.sides else "both"


@dataclass(frozen=True)
class Graph:
    """The units of a model, and why some of them can not be told."""

    count: int
    nodes: tuple[Node, ...]
    unclear: Mapping[int, str] = field(default_factory=dict)

    def layers(self) -> Iterator[Node]:
        """The nodes that have parameters."""
        return (node for node in self.nodes if node.name is not None)

    def groups(self) -> Units:
        """The group of each unit: units of one side of a layer are in one group."""
        pairs = [(units[0], unit) for node in self.layers() for units in node.sides.values() for unit in units]
        return components(pairs, self.count)


def components(pairs: Sequence[tuple[int, int]], total: int) -> Units:
    """The connected component of each of so many."""
    if not total:
        return NONE
    rows, columns = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    links = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(total, total))
    found: Units = connected_components(links, directed=False)[1].astype(np.intp)
    return found
