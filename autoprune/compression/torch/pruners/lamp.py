"""Layer-adaptive magnitude pruning: one budget for all layers of an entry, divided by LAMP scores.

J. Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021. The score itself is the allocation
`lamp`, which any other pruner may use.
"""

from __future__ import annotations

from autoprune.compression.torch.pruners.level import LevelPruner


class LAMPPruner(LevelPruner):
    """Prunes the weights with the smallest w^2 relative to the sum of all w^2 in their layer that are not smaller."""

    allocation = "lamp"
