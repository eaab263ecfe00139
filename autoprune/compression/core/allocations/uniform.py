"""Every layer the same sparsity."""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.compression.core.allocations.base import Allocation


class Uniform(Allocation):
    name = "uniform"
    shares = False

    def divide(self, shapes: Mapping[str, tuple[int, ...]], sparsity: float, most: float | None) -> Mapping[str, float]:
        return dict.fromkeys(shapes, sparsity)
