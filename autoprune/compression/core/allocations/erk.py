"""Erdos-Renyi-Kernel: the density of a layer goes with the sum of its dimensions over their product.

U. Evci et al., "Rigging the lottery", 2020, after D. Mocanu et al., 2018: small layers stay denser. Densities are
scaled to the budget, exactly, and none is above 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.formulas import pruned_count, sparsity_of
from autoprune.compression.core.scaling import scale_to_target


class Erk(Allocation):
    name = "erk"

    def divide(self, shapes: Mapping[str, tuple[int, ...]], sparsity: float, most: float | None) -> Mapping[str, float]:
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        pruned = pruned_count(sum(sizes.values()), sparsity)
        density = {name: sum(shape) / max(sizes[name], 1) for name, shape in shapes.items()}
        capped: dict[str, float] = {}
        while free := {name: size for name, size in sizes.items() if name not in capped}:
            left = pruned - sum(pruned_count(sizes[name], value) for name, value in capped.items())
            highest = max(density[name] for name in free)
            raw = {name: 1 - density[name] / highest for name in free}
            divided = scale_to_target(raw, free, sparsity_of(left, sum(free.values())))
            over = [name for name, value in divided.items() if most is not None and value > most]
            if not over:
                return capped | divided
            capped |= {name: most for name in over if most is not None}
        return capped
