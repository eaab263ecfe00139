"""Exact selection: which k elements go.

Every pruner selects through this module, so that k is exact, ties break by index and masks nest in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]


def smallest(values: Values, k: int) -> Mask:
    """Mark exactly the k smallest of a vector without NaN; of equal values, those that come first."""
    if k <= 0:
        return np.zeros(values.size, dtype=np.bool_)
    if k >= values.size:
        return np.ones(values.size, dtype=np.bool_)
    threshold = np.partition(values, k - 1)[k - 1]
    chosen: Mask = values < threshold
    ties = np.flatnonzero(values == threshold)
    chosen[ties[: k - np.count_nonzero(chosen)]] = True
    return chosen


def smallest_by_tier(tiers: Sequence[tuple[Mask, Callable[[], Values]]], k: int) -> Mask:
    """Mark k elements, a tier being exhausted before the next is touched.

    A tier is the elements it covers and their values, which are computed only where a tier is cut. Masks nest
    along a rising schedule because what is pruned already is the first tier.
    """
    chosen = np.zeros(tiers[0][0].size, dtype=np.bool_)
    left = k
    for covered, values in tiers:
        count = int(np.count_nonzero(covered))
        if count <= left:
            chosen |= covered
            left -= count
            continue
        if left > 0:
            index = np.flatnonzero(covered)
            chosen[index[smallest(values()[index], left)]] = True
        break
    return chosen
