"""Erdos-Renyi-Kernel: the density of a layer goes with the sum of its dimensions over their product.

U. Evci et al., "Rigging the lottery", 2020, after D. Mocanu et al., 2018: small layers stay denser. Densities are
scaled to the budget, exactly, and none is above 1. Layers get their weights one after another, each time the one that
is furthest behind its density, so that no layer gets one back as the budget shrinks: masks of a schedule nest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.formulas import pruned_count, sparsity_of


class Erk(Allocation):
    name = "erk"

    def divide(self, shapes: Mapping[str, tuple[int, ...]], sparsity: float, most: float | None) -> Mapping[str, float]:
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        least = {name: size - pruned_count(size, 1 if most is None else most) for name, size in sizes.items()}
        floors = {
            name: max(kept, min(size, 1)) for (name, size), kept in zip(sizes.items(), least.values(), strict=True)
        }
        wanted = sum(sizes.values()) - pruned_count(sum(sizes.values()), sparsity)
        kept = kept_by_weight({name: sum(shape) for name, shape in shapes.items()}, sizes, floors, wanted)
        return {name: sparsity_of(size - kept[name], size) for name, size in sizes.items()}


def kept_by_weight(
    weights: Mapping[str, int], sizes: Mapping[str, int], floors: Mapping[str, int], wanted: int
) -> dict[str, int]:
    """Whole numbers that sum to `wanted`, in proportion to the weights between floor and size (Jefferson's method)."""

    def kept(scale: int) -> dict[str, int]:
        return {name: min(sizes[name], max(floors[name], scale * weights[name] >> 64)) for name in weights}

    low, high = 0, (max(sizes.values(), default=0) + 1) << 64
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(kept(middle).values()) <= wanted else (low, middle)
    found, next_to_grow = kept(low), kept(high)
    left = wanted - sum(found.values())
    for name in [name for name in weights if next_to_grow[name] > found[name]][:left]:
        found[name] += 1
    return found
