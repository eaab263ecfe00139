"""Filter pruning by L2 norm: as by L1 norm, with the root of the sum of squares."""

from __future__ import annotations

from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.pruners.base import Pruner


class L2NormPruner(Pruner):
    """Prunes the filters with the smallest root of the sum of w^2."""

    aliases = ("L2FilterPruner",)
    granularity = "filter"

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.abs()

    def combine(self, blocks: Tensor) -> Tensor:
        return wide(blocks).square().sum(1).sqrt()
