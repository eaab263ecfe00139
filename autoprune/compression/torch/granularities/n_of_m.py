"""N:M: of every M weights along the input channels, N stay. 2:4 is what sparse tensor cores run.

A last group of fewer than M weights counts as filled up with zeros, so it keeps N too, or all it has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from autoprune.compression.torch.granularities.base import Shape
from autoprune.compression.torch.granularities.element import Element

_TEXT = re.compile(r"([1-9]\d{0,3}):([1-9]\d{0,3})\Z")


@dataclass(frozen=True)
class NOfM(Element):
    name = "n_of_m"
    by_filter = True
    in_rows = True
    kept: int
    of: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        match = _TEXT.match(text)
        if match is None or int(match[1]) > int(match[2]):
            return None
        return cls(int(match[1]), int(match[2]))

    def rows(self, values: NDArray[Any], shape: Shape, fill: float) -> NDArray[Any]:
        last = np.moveaxis(values.reshape(shape), 1, -1) if len(shape) > 1 else values.reshape(1, -1)
        missing = -last.shape[-1] % self.of
        padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, missing)], constant_values=fill) if missing else last
        return padded.reshape(-1, self.of)

    def from_rows(self, values: NDArray[Any], shape: Shape) -> NDArray[Any]:
        if len(shape) < 2:
            return values.reshape(-1)[: shape[0]]
        inputs = shape[1]
        groups = -(-inputs // self.of)
        last = values.reshape(shape[0], *shape[2:], groups * self.of)[..., :inputs]
        return np.moveaxis(last, -1, 1).reshape(-1)

    def sparsity(self) -> float:
        return 1 - self.kept / self.of
