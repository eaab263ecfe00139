"""`Granularity`: how the weights of a layer form the units that are pruned or kept as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Shape = tuple[int, ...]


class Granularity(ABC):
    """Filters come first in every tensor given here, unless the granularity does not care (`by_filter`)."""

    name: ClassVar[str]
    by_filter: ClassVar[bool] = True
    in_rows: ClassVar[bool] = False

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The granularity this text names, if it is one of this kind."""
        return cls() if text == cls.name else None

    @abstractmethod
    def count(self, shape: Shape) -> int:
        """How many units a layer has."""

    @abstractmethod
    def units(self, values: Tensor) -> Tensor:
        """Values of a layer as a matrix, a row for each unit."""

    @abstractmethod
    def spread(self, marked: Tensor, shape: Shape) -> Tensor:
        """Marks of units as marks of weights."""

    def sizes(self, shape: Shape) -> NDArray[np.intp] | None:
        """How many weights each unit has; None where it is the same for all."""
        return None

    def rows(self, values: NDArray[Any], shape: Shape, fill: float) -> NDArray[Any]:
        """Values of units in rows that each lose the same number, where a layer is not one row (`in_rows`)."""
        return values.reshape(1, -1)

    def from_rows(self, values: NDArray[Any], shape: Shape) -> NDArray[Any]:
        """What `rows` arranged, back in the order of units."""
        return values.reshape(-1)

    def sparsity(self) -> float | None:
        """The only sparsity this granularity ends at, where it fixes one."""
        return None
