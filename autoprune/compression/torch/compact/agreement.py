"""Which units every mask agrees on: a unit can go where nothing that arrives at a layer, or at the output, needs it.

What flows into an addition is needed while one summand is; into a product, while all factors are; through a masked
filter or a masked norm, nothing comes. So layers one after another prune what any of them masks, and layers that are
added prune what all of them mask. Some units can not go, or only together: the groups of a GroupNorm, the heads of an
attention, as many channels in each group of a convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoprune.compression.torch.compact.graph import Graph, Node, Units, leaving_side
from autoprune.compression.torch.compact.kinds import Side
from autoprune.compression.torch.compact.limits import Limits, is_source

Flags: TypeAlias = NDArray[np.bool_]
Gone: TypeAlias = Mapping[tuple[str, Side], Flags]
"""Which channels of a side of a layer are masked."""


@dataclass(frozen=True)
class Agreement:
    """The units that go, and why some of the others were given back."""

    going: Flags
    given_back: Mapping[int, str]


def agreed(graph: Graph, gone: Gone, limits: Limits) -> Agreement:
    """What can be removed of what is masked."""
    needed = np.zeros(graph.count, dtype=np.bool_)
    arriving = _flow(graph, gone)
    carried = _flow(graph, {})
    for number, node in enumerate(graph.nodes):
        if (units := node.sides.get("in")) is not None:
            wanted = _only(graph, units[~_gone(gone, node, "in", units)])
            needed |= wanted & (arriving[number] | ~carried[number])
        elif "both" in node.sides and node.operation == "_OutputOp":
            needed[node.sides["both"]] = True
    for unit in limits.fixed:
        needed[unit] = True
    going = ~needed
    return Agreement(going, _settle(graph, going, limits))


def staying(graph: Graph, gone: Gone, limits: Limits, agreement: Agreement) -> dict[int, str]:
    """Why units stay though a layer masks them."""
    masked = np.zeros(graph.count, dtype=np.bool_)
    for node in graph.layers():
        masked[node.leaving[_gone_out(gone, node)]] = True
    keepers = _keepers(graph, gone)
    return {
        unit: limits.fixed.get(unit) or agreement.given_back.get(unit) or keepers(unit)
        for unit in np.flatnonzero(masked & ~agreement.going).tolist()
    }


def _flow(graph: Graph, gone: Gone) -> NDArray[np.bool_]:
    """What arrives at each node, before the node itself: a row of units for each.

    A parameter of its own, such as a position embedding, is to the layers it is added to what a bias is: it goes with
    their channels, and keeps none.
    """
    arriving = np.zeros((len(graph.nodes), graph.count), dtype=np.bool_)
    leaving = np.zeros_like(arriving)
    own = [_only(graph, node.leaving[~_gone_out(gone, node)]) for node in graph.nodes]
    computed = np.logical_or.reduce(
        [_only(graph, node.leaving) for node in graph.nodes if is_source(node) and not node.is_parameter]
    )
    own = [units & ~computed if node.is_parameter else units for node, units in zip(graph.nodes, own, strict=True)]
    for number, node in enumerate(graph.nodes):
        if is_source(node):
            leaving[number] = own[number]
    moving = True
    while moving:
        moving = False
        for number, node in reversed(list(enumerate(graph.nodes))):
            if not node.inputs:
                continue
            rows = leaving[list(node.inputs)]
            arriving[number] = _product(rows) if node.operation.startswith("MulBackward") else rows.any(0)
            if not is_source(node):
                through = arriving[number] & own[number]
                moving |= bool((through != leaving[number]).any())
                leaving[number] = through
    return arriving


def _product(rows: NDArray[np.bool_]) -> Flags:
    """A factor that has nothing of a model in it does not count: constants have no units."""
    factors = rows[rows.any(1)]
    result: Flags = np.logical_and.reduce(factors) if len(factors) else np.zeros(rows.shape[1], dtype=np.bool_)
    return result


def _gone_out(gone: Gone, node: Node) -> Flags:
    return _gone(gone, node, leaving_side(node), node.leaving)


def _gone(gone: Gone, node: Node, side: Side, units: Units) -> Flags:
    found = gone.get((node.name, side)) if node.name is not None else None
    return np.zeros(len(units), dtype=np.bool_) if found is None else found


def _only(graph: Graph, units: Units) -> Flags:
    flags = np.zeros(graph.count, dtype=np.bool_)
    flags[units] = True
    return flags


def _settle(graph: Graph, going: Flags, limits: Limits) -> dict[int, str]:
    """Give back units until bundles are whole, groups are balanced and no layer is empty; why each came back."""
    why: dict[int, str] = {}
    moving = True
    while moving:
        moving = False
        for units, reason in _given_back(graph, going, limits):
            going[units] = False
            why |= dict.fromkeys(units.tolist(), reason)
            moving = True
    return why


def _given_back(graph: Graph, going: Flags, limits: Limits) -> Iterator[tuple[Units, str]]:
    """One pass over what limits say, which sees what is given back meanwhile."""
    for bundle in limits.bundles:
        for units in bundle.sets:
            if going[units].any() and not going[units].all():
                yield units[going[units]], bundle.reason
    for balance in limits.balances:
        stay = [
            pair
            for pair in zip(balance.inputs, balance.outputs, strict=True)
            if not (balance.whole and going[pair[0]].all() and going[pair[1]].all())
        ]
        for sets in zip(*stay, strict=True):
            least = min(int(going[units].sum()) for units in sets)
            for units in sets:
                if (more := units[going[units]][least:]).size:
                    yield more, balance.reason
    for node in graph.layers():
        for units in node.sides.values():
            if units.size and going[units].all():
                yield units[:1], f"{node.name} keeps one channel at least"


def _keepers(graph: Graph, gone: Gone) -> Callable[[int], str]:
    """Who gives a unit and does not mask it."""
    sources = [node for node in graph.layers() if is_source(node) and not node.is_parameter]
    kept = [_only(graph, node.leaving[~_gone_out(gone, node)]) for node in sources]

    def because(unit: int) -> str:
        names = [node.name for node, units in zip(sources, kept, strict=True) if units[unit]]
        if not names:
            return "read by a layer to which something else comes as well"
        return f"goes with channels that {names[-1]} {'and others keep' if len(names) > 1 else 'keeps'}"

    return because
