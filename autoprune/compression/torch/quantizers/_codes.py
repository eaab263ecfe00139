"""Tensors on an even grid of whole numbers, and the gradients that pass through rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoprune.compression.torch.precision import wide


@dataclass(frozen=True)
class Codes:
    """Whole numbers, of which each stands for scale * (value - zero_point).

    The values stay floating point, so that gradients pass. Unsigned codes of b bits run from 0 to 2^b - 1, signed
    ones lie around 0.
    """

    values: Tensor
    scale: Tensor
    zero_point: Tensor
    signed: bool = False

    def decode(self) -> Tensor:
        return self.scale * (self.values - self.zero_point)

    def stored(self, bits: int) -> tuple[Tensor, Tensor]:
        """Signed integers as wide as the bits need, and the zero point that belongs to them."""
        offset = 0 if self.signed else 2 ** (bits - 1)
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        integers = (self.values.detach().to(torch.int64) - offset).clamp(least, most)
        return integers.to(_integer_type(bits)), (self.zero_point - offset).detach()


def affine(x: Tensor, low: Tensor, high: Tensor, bits: int) -> Codes:
    """Jacob et al.: 2^bits levels from `low` to `high`, a range widened to hold 0, which is a level itself.

    The gradient is that of x within the range and zero outside it.
    """
    levels = 2**bits - 1
    low, high = low.detach().clamp(max=0), high.detach().clamp(min=0)
    width = torch.where(high > low, high - low, 1)
    zero_point = (-low * levels / width).round().clamp(0, levels)
    exact = wide(x) * levels / width
    values = (exact.round() + zero_point).clamp(0, levels)
    within = wide(x).clamp(low, high) * levels / width
    return Codes(straight_through(within, values), width / levels, zero_point)


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """The quantised values, bit for bit, with the gradient of x."""
    return quantized.detach() + (x - x.detach())


def round_through(x: Tensor) -> Tensor:
    """Round half to even; the gradient is that of x."""
    return straight_through(x, x.round())


def _integer_type(bits: int) -> torch.dtype:
    if bits <= 8:
        return torch.int8
    return torch.int16 if bits <= 16 else torch.int32
