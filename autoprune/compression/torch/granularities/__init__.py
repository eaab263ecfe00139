"""What is pruned as one: an element, a filter, a block, or N of every M. One file each, found by what it reads.

element      each weight by itself
filter       an output channel of a convolution, a row of a linear layer (`row` is another name)
per_filter   each weight by itself, the same number in every filter
2:4          of every 4 weights along the input, 2 stay
4x4          blocks of 4 filters by 4 weights
"""

from __future__ import annotations

from functools import cache

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.granularities.base import Granularity
from autoprune.registry import Registry

_GRANULARITIES: Registry[Granularity] = Registry(__name__, Granularity, "granularity")  # type: ignore[type-abstract]
EXPECTED = "element, filter, per_filter, N:M as in 2:4, or a block as in 4x4"


@cache
def read(text: object) -> Granularity:
    """The granularity that a text names."""
    for kind in _GRANULARITIES.all().values():
        if isinstance(text, str) and (found := kind.read(text)) is not None:
            return found
    raise CompressionError(f"granularity: given {text!r}; expected {EXPECTED}")


def is_granularity(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        read(text)
    except CompressionError:
        return False
    return True
