"""Pruning channels that are silent.

H. Hu et al., "Network trimming: a data-driven neuron pruning approach towards efficient deep architectures", 2016:
the average percentage of zeros (APoZ) of a channel's activations over examples and positions.
"""

from __future__ import annotations

from torch import Tensor

from autoprune.compression.torch.pruners._activation import ActivationPruner


class ActivationAPoZRankPruner(ActivationPruner):
    """Prunes the channels whose activations are zero most often."""

    aliases = ("ActivationAPoZRankFilterPruner",)

    def measure(self, activation: Tensor) -> Tensor:
        return activation != 0
