"""Random pruning: what any other criterion has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.base import Pruner


class RandomPruner(Pruner):
    """Prunes units drawn by torch's generator, which `torch.manual_seed` sets."""

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return torch.rand(weight.shape, device=weight.device)
