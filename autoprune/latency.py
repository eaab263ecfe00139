"""A limit of latency: how it is written, what a trial reports of it, and how near a measured time has to come."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MILLISECONDS: Mapping[str, float] = {"us": 1e-3, "ms": 1.0, "s": 1e3}
TIME = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+) ?({'|'.join(_MILLISECONDS)})")
REPORTED, REPORTED_SHARE = "latency_ms", "latency_share"
"""What a trial reports: milliseconds, and the share of what the dense model takes."""
TOLERANCE = 0.05
"""A time that is measured again may be above its limit by this share, and a plan is good enough that stays below by no
more."""


def milliseconds(time: str) -> float:
    """Of a time such as 5ms or 800us; 0 where it is no time."""
    found = TIME.fullmatch(time)
    return float(found[1]) * _MILLISECONDS[found[2]] if found else 0.0


def highest(amount: float | str) -> tuple[str, float]:
    """What a trial reports that a budget limits, and how much of it is within the tolerance."""
    limit = (REPORTED, milliseconds(amount)) if isinstance(amount, str) else (REPORTED_SHARE, amount)
    return limit[0], limit[1] * (1 + TOLERANCE)
