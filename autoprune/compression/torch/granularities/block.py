"""Blocks of a layer's matrix: so many filters by so many of their weights. Blocks at the edges may be smaller."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from autoprune.compression.torch.granularities.base import Granularity, Shape

_TEXT = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})\Z")


@dataclass(frozen=True)
class Block(Granularity):
    name = "block"
    height: int
    width: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        match = _TEXT.match(text)
        return None if match is None else cls(int(match[1]), int(match[2]))

    def count(self, shape: Shape) -> int:
        return math.prod(self._count(_matrix(shape)))

    def units(self, values: Tensor) -> Tensor:
        matrix = values.reshape(_matrix(tuple(values.shape)))
        rows, columns = self._count(matrix.shape)
        padded = nn.functional.pad(
            matrix, (0, columns * self.width - matrix.shape[1], 0, rows * self.height - matrix.shape[0])
        )
        tiles = padded.view(rows, self.height, columns, self.width).transpose(1, 2)
        return tiles.reshape(rows * columns, self.height * self.width)

    def spread(self, marked: Tensor, shape: Shape) -> Tensor:
        matrix = _matrix(shape)
        tiles = marked.view(self._count(matrix))
        wide = tiles.repeat_interleave(self.height, 0).repeat_interleave(self.width, 1)
        return wide[: matrix[0], : matrix[1]].reshape(shape)

    def sizes(self, shape: Shape) -> NDArray[np.intp]:
        matrix = _matrix(shape)
        high, wide = (
            np.minimum(step, size - np.arange(0, size, step))
            for step, size in zip((self.height, self.width), matrix, strict=True)
        )
        return np.outer(high, wide).reshape(-1)

    def _count(self, matrix: Shape) -> Shape:
        return -(-matrix[0] // self.height), -(-matrix[1] // self.width)


def _matrix(shape: Shape) -> Shape:
    return shape[0], math.prod(shape[1:])
