"""Magnitude pruning: in each layer, the weights nearest zero go."""

from __future__ import annotations

from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruner import Pruner


class LevelPruner(Pruner):
    """Prunes the smallest |w| of each layer, `sparsity` of them."""

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.abs()
