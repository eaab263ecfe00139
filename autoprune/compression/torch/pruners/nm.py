"""N:M sparsity: of every M weights along the input channels, the N largest stay.

A. Mishra et al., "Accelerating sparse deep neural networks", 2021: 2:4 is the pattern that sparse tensor cores run.
"""

from __future__ import annotations

from autoprune.compression.torch.pruners.level import LevelPruner


class NMPruner(LevelPruner):
    """Prunes by magnitude to the pattern `granularity`, 2:4 unless an entry says another. Needs no sparsity."""

    granularity = "2:4"
