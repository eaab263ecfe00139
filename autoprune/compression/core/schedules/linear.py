"""Linear: each step prunes as much as the last."""

from __future__ import annotations

from autoprune.compression.core.schedules.base import Stepwise


class Linear(Stepwise):
    """i / N of the target at step i, for i = 0..N."""

    name = "linear"

    def sparsity(self, step: int, target: float) -> float:
        return step / self.total_iteration * target
