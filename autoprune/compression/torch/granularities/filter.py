"""Whole filters of convolutions, rows of linear layers, channels of BatchNorm."""

from __future__ import annotations

import math
from typing import Self

from torch import Tensor

from autoprune.compression.torch.granularities.base import Granularity, Shape


class Filter(Granularity):
    name = "filter"

    @classmethod
    def read(cls, text: str) -> Self | None:
        return cls() if text in ("filter", "row") else None

    def count(self, shape: Shape) -> int:
        return shape[0]

    def units(self, values: Tensor) -> Tensor:
        return values.reshape(values.shape[0], math.prod(values.shape[1:]))

    def spread(self, marked: Tensor, shape: Shape) -> Tensor:
        return marked.view(-1, *[1] * (len(shape) - 1)).expand(shape)
