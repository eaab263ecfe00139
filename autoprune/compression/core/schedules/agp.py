"""Automated gradual pruning: fast at first, while much is redundant, and slower towards the target.

M. Zhu and S. Gupta, "To prune, or not to prune", 2017, equation 1.
"""

from __future__ import annotations

from autoprune.compression.core.formulas import agp_sparsity
from autoprune.compression.core.schedules.base import Stepwise


class AGP(Stepwise):
    """1 - (1 - i / N)^3 of the target at step i, for i = 0..N."""

    name = "agp"

    def sparsity(self, step: int, target: float) -> float:
        return agp_sparsity(step, 0.0, target, 0, self.total_iteration, 1)
