"""The plainest quantizer: symmetric integers, scaled by the largest weight of the layer."""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.quantizers._codes import Codes
from autoprune.compression.torch.quantizers._settings import bits_of
from autoprune.compression.torch.quantizers.base import Quantizer


class NaiveQuantizer(Quantizer):
    """Rounds weights to multiples of max|w| / (2^(bits - 1) - 1): of max|w| / 127 for 8 bits."""

    def encode(self, layer: LayerInfo, weight: Tensor) -> Codes:
        peak = wide(weight).abs().amax() / (2 ** (bits_of(layer.settings, "weight") - 1) - 1)
        scale = torch.where(peak > 0, peak, 1)
        return Codes((wide(weight) / scale).round(), scale, torch.zeros_like(scale), signed=True)
