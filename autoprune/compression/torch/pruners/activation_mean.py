"""Pruning channels that are weak.

P. Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", 2017, section 2.2: the
mean activation of a channel over examples and positions.
"""

from __future__ import annotations

from torch import Tensor

from autoprune.compression.torch.pruners._activation import ActivationPruner


class ActivationMeanRankPruner(ActivationPruner):
    """Prunes the channels with the smallest mean activation."""

    aliases = ("ActivationMeanRankFilterPruner",)

    def measure(self, activation: Tensor) -> Tensor:
        return activation
