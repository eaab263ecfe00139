"""Filter pruning via geometric median.

Y. He et al., "Filter pruning via geometric median for deep convolutional neural networks acceleration", 2019: the
filters nearest to all others, since the others can stand in for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.errors import Problem


class FPGMPruner(Pruner):
    """Prunes the filters F_j with the smallest sum of distances to the other filters, sum over k of |F_j - F_k|."""

    granularity = "filter"

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight

    def combine(self, blocks: Tensor) -> Tensor:
        real = torch.view_as_real(blocks).flatten(1) if blocks.is_complex() else blocks
        return distance_sums(real.double())

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        given = settings.get("granularity", cls.granularity)
        if given in ("filter", "row"):
            return []
        return [Problem(f"{where}.granularity", repr(given), "filter: distances are between whole filters")]


def distance_sums(points: Tensor, rows: int = 256) -> Tensor:
    """For each point the sum of its distances to the others, by |a - b|^2 = |a|^2 + |b|^2 - 2ab.

    The products are those of the points about their mean, where few digits cancel, and each is computed once: of some
    rows at a time with what has not been before them.
    """
    centred = points - points.mean(0)
    squares = centred.square().sum(1)
    sums = torch.zeros_like(squares)
    for start in range(0, len(points), rows):
        some = centred[start : start + rows]
        apart = squares[start : start + rows, None] + squares[None, start:] - 2 * (some @ centred[start:].T)
        distances = apart.clamp_min_(0).sqrt_().fill_diagonal_(0)
        sums[start : start + rows] += distances.sum(1)
        sums[start + rows :] += distances[:, rows:].sum(0)
    return sums
