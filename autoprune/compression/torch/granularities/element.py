"""Each weight by itself."""

from __future__ import annotations

import math

from torch import Tensor

from autoprune.compression.torch.granularities.base import Granularity, Shape


class Element(Granularity):
    name = "element"
    by_filter = False

    def count(self, shape: Shape) -> int:
        return math.prod(shape)

    def units(self, values: Tensor) -> Tensor:
        return values.reshape(-1, 1)

    def spread(self, marked: Tensor, shape: Shape) -> Tensor:
        return marked.view(shape)
