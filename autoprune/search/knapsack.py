"""A budget divided among groups of layers so that the sum of what each would lose alone is least.

Curves of a scan have few points and some noise: a group is taken to lose no less where it is sparser, and between two
points in proportion to the logarithm of its density. With a price on what is kept, every group can choose for itself;
the right price (a Lagrange multiplier) is the one at which all together keep what the budget allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = Sequence[tuple[float, float | None]]
"""Sparsities, and what is lost there; None where the model no longer had a value."""

LEAST_DENSITY = 0.005
_DENSITIES = np.geomspace(1.0, LEAST_DENSITY, 400)


@dataclass(frozen=True)
class Item:
    """A group: what all of it costs, and what it loses as it gets sparser."""

    price: float
    points: Points

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """What is lost at each of `_DENSITIES`. Beyond the last point it grows as fast as up to there on the whole."""
        known = sorted((sparsity, lost) for sparsity, lost in self.points if lost is not None and sparsity < 1)
        kept = np.array([0.0, *(-np.log1p(-sparsity) for sparsity, _ in known)])
        lost = np.maximum.accumulate([0.0, *(lost for _, lost in known)])
        wanted = -np.log(_DENSITIES)
        slope = lost[-1] / kept[-1] if kept[-1] else 0.0
        return np.where(wanted > kept[-1], slope * wanted, np.interp(wanted, kept, lost))


def cheapest(items: Mapping[str, Item], share: float) -> dict[str, float]:
    """The sparsity of each group at one price for all: from 0 to 1 of `share`, the price goes from nothing to all."""
    highest = max((float(item.losses[-1]) for item in items.values()), default=0.0) or 1.0
    every = sum(item.price for item in items.values()) or 1.0
    multiplier = highest * share / max(1.0 - share, 1e-12)
    return {
        name: float(1 - _DENSITIES[np.argmin(item.losses + multiplier * item.price / every * _DENSITIES)])
        for name, item in items.items()
    }
