"""Pruning by scores that come from elsewhere: a file, an earlier training, another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError, remedy, shown
from autoprune.compression.torch.configured import ConfigList
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.base import Pruner


class ScoresPruner(Pruner):
    """Prunes the weights with the smallest of the given `scores`: by layer, a tensor like its weight."""

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        scores: Mapping[str, Tensor] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(scores, Mapping) or not all(isinstance(each, Tensor) for each in scores.values()):
            raise CompressionError(f"{self._called}.scores: given {shown(scores)}; expected a dict of tensors by layer")
        self._scores = scores
        super().__init__(model, config_list, *misplaced, **settings)

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        given = self._scores.get(layer.name)
        if given is None:
            hint = remedy(layer.name, self._scores)
            raise CompressionError(f"{self._called}.scores: given none for {layer.called}; expected some ({hint})")
        if given.shape != weight.shape:
            raise CompressionError(
                f"{self._called}.scores: given shape {tuple(given.shape)} for {layer.called}; expected that of its "
                f"weight, {tuple(weight.shape)}"
            )
        return given.to(weight.device)
