"""Pruning by weights and activations.

M. Sun et al., "A simple and effective pruning approach for large language models", 2024: the size of a weight times
the norm of the input feature it multiplies, compared within each output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.pruners._data_driven import (
    CONVOLUTIONS,
    DataDrivenPruner,
    LayerKey,
    channel_axis,
    key_of,
    sum_by_channel,
    total,
)


class WandaPruner(DataDrivenPruner):
    """Prunes the weights with the smallest |w_ij| ||x_j||_2, the same number in every row or filter i."""

    granularity = "per_filter"
    supported = (*CONVOLUTIONS, nn.Linear)

    _norms: Mapping[LayerKey, Tensor] = {}

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        squares: dict[LayerKey, list[Tensor]] = {}

        def look(info: LayerInfo, module: nn.Module, given: Tensor, _: Tensor) -> None:
            squares.setdefault(key_of(info), []).append(sum_by_channel(wide(given).square(), channel_axis(module)))

        self.watch(layers, look)
        self._norms = {key: total(parts).sqrt() for key, parts in squares.items()}

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        groups = int(getattr(layer.module, "groups", 1))
        norms = self._norms[key_of(layer)].to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        blocks = weight.abs().reshape(groups, -1, norms.numel() // groups, weight[0, 0].numel())
        return (blocks * norms.view(groups, 1, -1, 1)).view(weight.shape)
