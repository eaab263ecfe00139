"""Scale raw sparsities to a total, exactly.

A search proposes a sparsity for each layer, and what it means is their proportion: which layer to keep denser.
Scaled to one total, every trial meets the budget, and the least pruned trial cannot win for being least pruned.
Pure Python, so that a trial script needs no framework to call it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autoprune.compression.core.config_list import is_integer, is_number
from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.core.formulas import pruned_count, sparsity_of

_LEAST_DENSITY = 1e-9


def scale_to_target(sparsities: Mapping[str, float], sizes: Mapping[str, int], target: float) -> dict[str, float]:
    """The sparsities whose pruned elements add up to `pruned_count(total size, target)`, to the element.

    Densities become min(1, lambda * density) with one lambda for all layers, and the elements that rounding
    leaves over go to the largest fractions. A layer keeps at least one element, because a layer without weights
    cuts the network; the highest target is therefore a little below 1. A sparsity of 1 is the limit of a
    vanishing density: such a layer keeps one element until all others are dense.
    """
    _check(sparsities, sizes, target)
    total = sum(sizes[name] for name in sparsities)
    wanted = total - pruned_count(total, target)
    kept = _whole(_shares(sparsities, sizes, wanted), sizes, wanted)
    return {name: sparsity_of(sizes[name] - kept[name], sizes[name]) for name in sparsities}


@dataclass(frozen=True)
class Units:
    """What a layer is pruned by: so many units of so many elements each."""

    count: int
    size: int


def whole_units(sparsities: Mapping[str, float], units: Mapping[str, Units]) -> dict[str, float]:
    """The sparsities in whole units, whose elements add up to what was asked for, or hardly less.

    Floors, then one unit more each, by largest fraction, while it fits and leaves the layer one.
    """
    exact = {name: units[name].count * value for name, value in sparsities.items()}
    pruned = {name: pruned_count(units[name].count, value) for name, value in sparsities.items()}
    left = math.fsum(units[name].size * (exact[name] - pruned[name]) for name in units) + 1e-6
    for name in sorted(units, key=lambda name: pruned[name] - exact[name]):
        if units[name].size <= left and pruned[name] + 1 < units[name].count:
            pruned[name] += 1
            left -= units[name].size
    return {name: sparsity_of(pruned[name], units[name].count) for name in sparsities}


def _shares(sparsities: Mapping[str, float], sizes: Mapping[str, int], wanted: int) -> dict[str, float]:
    """How many elements each layer keeps, before rounding, so that they sum to `wanted` or hardly less."""
    density = {name: max(1.0 - float(value), _LEAST_DENSITY) for name, value in sparsities.items()}

    def keep(scale: float) -> dict[str, float]:
        return {name: min(float(sizes[name]), max(1.0, sizes[name] * scale * density[name])) for name in density}

    low, high = 0.0, 2.0 / min(density.values())
    while low < (middle := (low + high) / 2) < high:
        if math.fsum(keep(middle).values()) <= wanted:
            low = middle
        else:
            high = middle
    return keep(low)


def _whole(shares: Mapping[str, float], sizes: Mapping[str, int], wanted: int) -> dict[str, int]:
    """Whole elements that sum to `wanted`: floors, then one each by largest fraction while any is left."""
    kept = {name: math.floor(value) for name, value in shares.items()}
    by_fraction = sorted(shares, key=lambda name: kept[name] - shares[name])
    left = wanted - sum(kept.values())
    while left > 0:
        for name in by_fraction:
            if left > 0 and kept[name] < sizes[name]:
                kept[name] += 1
                left -= 1
    return kept


def _check(sparsities: Mapping[str, float], sizes: Mapping[str, int], target: float) -> None:
    if not sparsities:
        raise CompressionError("scale_to_target: given no sparsities; expected one for each layer")
    for name in sparsities:
        if name not in sizes:
            raise CompressionError(
                f"scale_to_target: given a sparsity for {name!r} but no size ({remedy(name, sizes)})"
            )
    for name, size in sizes.items():
        if name not in sparsities:
            raise CompressionError(
                f"scale_to_target: given a size for {name!r} but no sparsity; expected the same layers in both, "
                f"so that the total is unambiguous (leave {name!r} out of the sizes if it is not pruned)"
            )
        if not is_integer(size) or size < 0:
            raise CompressionError(
                f"scale_to_target: given size {size!r} for {name!r}; expected a whole number, 0 or more"
            )
    for name, value in sparsities.items():
        if not is_number(value) or not 0 <= value <= 1:
            raise CompressionError(
                f"scale_to_target: given sparsity {value!r} for {name!r}; expected a number from 0 to 1"
            )
    _check_target(target, list(sizes.values()))


def _check_target(target: float, sizes: list[int]) -> None:
    total = sum(sizes)
    most = total - sum(1 for size in sizes if size)
    if not is_number(target) or not 0 <= target <= 1 or pruned_count(total, target) > most:
        highest = sparsity_of(most, total)
        raise CompressionError(
            f"scale_to_target: given target {target!r}; expected a number from 0 to {highest:.10g}, the reachable "
            f"range: {total} elements in {len(sizes)} layers, each of which keeps at least one"
        )
