"""Each weight by itself, compared with those of its own filter only: every filter loses the same number."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from autoprune.compression.torch.granularities.base import Shape
from autoprune.compression.torch.granularities.element import Element


class PerFilter(Element):
    name = "per_filter"
    by_filter = True
    in_rows = True

    def rows(self, values: NDArray[Any], shape: Shape, fill: float) -> NDArray[Any]:
        return values.reshape(shape[0], math.prod(shape[1:]))
