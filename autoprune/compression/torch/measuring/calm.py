"""Timing while the machine lets us: what threads wait for a processor is no time of the model.

Threads that share the work of a layer wait for the slowest of them. Where other programs leave two of them one
processor, each has to wait for the other's slice to end, and a network of a twentieth of a millisecond takes sixty.
The system may leave it so for seconds, so it is tried again a little later. One thread alone is interrupted now and
then, which the median does not feel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import TypeVar

import torch

from autoprune.compression.cost import CALM

_PAUSES = (0.0, 0.2, 0.5, 1.0)
_PATIENCE = 4.0
_THREADS = Path("/proc/self/task")

Value = TypeVar("Value")


def calmest(measure: Callable[[], Value]) -> tuple[Value, float | None]:
    """What the measurement gives that is disturbed the least, of a few if need be, and by how much that is: for what
    share of it, summed over threads, a thread waited for a processor; None of one thread alone, and where the system
    does not tell."""
    if torch.get_num_threads() == 1:
        return measure(), None
    found: list[tuple[float, Value]] = []
    begun = perf_counter()
    for pause in _PAUSES:
        sleep(pause)
        before, start = _waited(), perf_counter()
        value = measure()
        after, end = _waited(), perf_counter()
        if before is None or after is None:
            return value, None
        found.append((max(0.0, after - before) / (end - start), value))
        if found[-1][0] <= CALM or end - begun > _PATIENCE:
            break
    share, value = min(found, key=lambda each: each[0])
    return value, share


def _waited() -> float | None:
    """Seconds for which the threads of this process have waited for a processor so far."""
    try:
        return sum(int(each.read_text().split()[1]) for each in _THREADS.glob("*/schedstat")) / 1e9
    except (OSError, IndexError):
        return None
