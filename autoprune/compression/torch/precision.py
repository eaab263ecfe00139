"""Numbers wide enough to add up and to compare."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """At least 32-bit floats: half precision loses sums of thousands, and does not tell the levels of 8 bits apart."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
