"""Magnitude pruning: in each layer, the weights nearest zero go."""

from __future__ import annotations

from torch import Tensor

from autoprune.compression.torch.choosing import elementwise
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.base import Pruner


class LevelPruner(Pruner):
    """Prunes the smallest |w| of each layer, `sparsity` of them."""

    @elementwise
    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.abs()
