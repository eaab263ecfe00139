"""Layer-adaptive magnitude: one ranking, each score relative to those that are not smaller in its layer.

J. Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021: u^2 / sum of v^2 over v >= u. The
largest score of every layer is 1, so no layer is emptied before all others are down to one.
"""

from __future__ import annotations

import numpy as np

from autoprune.compression.core.allocations.base import Allocation
from autoprune.compression.core.selection import Array, Source, Values, whole


class Lamp(Allocation):
    name = "lamp"
    ranks = True

    def comparable(self, scores: Source) -> Source:
        return Array(lamp_scores(whole(scores)))


def lamp_scores(scores: Values) -> Values:
    """Of equal scores, the earlier is the smaller, as in selection."""
    largest = np.max(np.abs(scores), initial=0.0)
    squares = np.square(scores.astype(np.float64) / (largest or 1.0))
    order = np.argsort(squares, kind="stable")
    at_least = np.cumsum(squares[order][::-1])[::-1]
    lamp = np.empty_like(squares)
    lamp[order] = np.divide(squares[order], at_least, out=np.zeros_like(squares), where=at_least > 0)
    return lamp
