"""Filter pruning by L1 norm.

H. Li et al., "Pruning filters for efficient convnets", 2017: the filters of a convolution, or rows of a linear layer,
whose absolute weights sum to least.
"""

from __future__ import annotations

from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.base import Pruner


class L1NormPruner(Pruner):
    """Prunes the filters with the smallest sum of |w|."""

    aliases = ("L1FilterPruner",)
    granularity = "filter"

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.abs()
