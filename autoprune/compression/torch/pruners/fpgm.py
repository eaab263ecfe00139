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
        return _distances(blocks.double()).sum(1)

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        given = settings.get("granularity", cls.granularity)
        if given in ("filter", "row"):
            return []
        return [Problem(f"{where}.granularity", repr(given), "filter: distances are between whole filters")]


def _distances(points: Tensor) -> Tensor:
    """Between all rows, by |a - b|^2 = |a|^2 + |b|^2 - 2ab, about their mean, where few digits cancel."""
    centred = points - points.mean(0)
    squares = centred.square().sum(1)
    products = centred @ centred.T
    return torch.sqrt((squares[:, None] + squares[None, :] - 2 * products).clamp_min(0).fill_diagonal_(0))
