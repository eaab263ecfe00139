"""DoReFa-Net: weights squashed by tanh, activations clamped to [0, 1], both in very few bits.

S. Zhou et al., "DoReFa-Net: training low bitwidth convolutional neural networks with low bitwidth gradients", 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor

from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.precision import wide
from autoprune.compression.torch.quantizers._codes import Codes, round_through, straight_through
from autoprune.compression.torch.quantizers._settings import bits_of, quant_keys
from autoprune.compression.torch.quantizers.base import Quantizer


class DoReFaQuantizer(Quantizer):
    """Weights on 2^bits levels from -1 to 1, or for one bit sign(w) * E|w|; activations on 2^bits from 0 to 1."""

    keys = quant_keys(least_bits=1)
    differentiable = True

    def encode(self, layer: LayerInfo, weight: Tensor) -> Codes:
        bits = bits_of(layer.settings, "weight")
        return _binary(wide(weight)) if bits == 1 else _squashed(wide(weight), 2**bits - 1)

    def quantize_input(self, layer: LayerInfo, x: Tensor) -> Tensor:
        return _clamped(wide(x), 2 ** bits_of(layer.settings, "input") - 1)

    def quantize_output(self, layer: LayerInfo, x: Tensor) -> Tensor:
        return _clamped(wide(x), 2 ** bits_of(layer.settings, "output") - 1)


def _squashed(weight: Tensor, levels: int) -> Codes:
    """2 q / levels - 1, with q the nearest of levels * (tanh(w) / (2 max|tanh(w)|) + 1/2)."""
    squashed = weight.tanh()
    peak = squashed.abs().amax()
    unit = squashed / (2 * torch.where(peak > 0, peak, 1)) + 0.5
    scale = torch.full_like(peak, 2 / levels, requires_grad=False)
    return Codes(round_through(levels * unit), scale, torch.full_like(scale, levels / 2))


def _binary(weight: Tensor) -> Codes:
    """sign(w) * E|w|, with the gradient straight to the weight: weight / scale has the inverse slope of decoding."""
    mean = weight.detach().abs().mean()
    scale = torch.where(mean > 0, 2 * mean, 1)
    sign = straight_through(weight / scale, (weight >= 0).to(weight))
    return Codes(sign, scale, torch.where(mean > 0, 0.5, 1.0).to(scale))


def _clamped(x: Tensor, levels: int) -> Tensor:
    return round_through(levels * x.clamp(0, 1)) / levels
