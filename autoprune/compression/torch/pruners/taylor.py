"""Pruning what the loss would miss least, by its first-order Taylor expansion.

P. Molchanov et al., "Importance estimation for neural network pruning", 2019: the square of gradient times weight,
summed over a filter, and over batches. `allocation: global` ranks all layers together, as the paper does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.pruners._data_driven import DataDrivenPruner, LayerKey, key_of


class TaylorFOWeightPruner(DataDrivenPruner):
    """Prunes the filters with the smallest sum of (g w)^2. Of a BatchNorm, w is gamma."""

    aliases = ("TaylorFOWeightFilterPruner",)
    granularity = "filter"
    purpose = "gradients"
    reaching = "gives no gradient to"

    _squares: Mapping[LayerKey, Tensor] = {}

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        squares: dict[LayerKey, Tensor] = {}

        def add() -> None:
            for info in layers:
                if (gradient := info.weight.grad) is not None:
                    square = wide(gradient.to_dense()).square()
                    squares[key_of(info)] = squares.get(key_of(info), 0) + square

        self.observe(add)
        self.check_reached(layers, set(squares))
        self._squares = squares

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return self._squares[key_of(layer)].to(weight.device) * wide(weight).square()
