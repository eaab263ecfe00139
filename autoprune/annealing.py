"""Simulated annealing in two formulas: how far to move at a temperature, and when to bear a loss.

As in N. Liu et al., "AutoCompress", 2020. The temperature is `heat`, the share of the first one that is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random


def perturbed(proposal: Mapping[str, float], magnitude: float, random: Random) -> dict[str, float]:
    """Each number moved by up to `magnitude`, and reflected at 0 and 1, where clipping would empty layers."""
    moved = {name: abs(value + random.uniform(-magnitude, magnitude)) for name, value in proposal.items()}
    return {name: min(value, 2 - value) for name, value in moved.items()}


def accepts(loss: float, heat: float, random: Random) -> bool:
    """Whether a loss is borne: `loss` in average changes, `heat` the share of the start temperature that is left."""
    return random.random() < math.exp(-loss / heat)
