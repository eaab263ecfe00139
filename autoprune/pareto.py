"""Which of many results are the best when several numbers count: non-dominated sorting and crowding.

Both as in Deb, Pratap, Agarwal and Meyarivan, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II (2002).
One result dominates another that is nowhere better and somewhere worse. With one number, the order is the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

Losses: TypeAlias = Sequence[Sequence[float]]
"""For each result its numbers, where smaller is better."""


def fronts(losses: Losses, enough: int) -> list[list[int]]:
    """Indices front by front, the best first: those that only earlier fronts dominate, until `enough` are placed."""
    import numpy as np

    if not losses:
        return []
    values = np.asarray(losses, dtype=float)
    left = np.lexsort(values.T[::-1])
    found: list[list[int]] = []
    while left.size and sum(map(len, found)) < enough:
        front, waiting = [], left
        while waiting.size:
            front.append(int(waiting[0]))
            first, others = values[waiting[0]], values[waiting]
            behind = (first <= others).all(axis=1) & (first < others).any(axis=1)
            behind[0] = True
            waiting = waiting[~behind]
        found.append(sorted(front))
        left = left[~np.isin(left, front)]
    return found


def crowding(losses: Losses) -> list[float]:
    """How much room each of a front's results has around it; the extremes of each number have infinitely much."""
    room = [0.0] * len(losses)
    for values in zip(*losses, strict=True):
        order = sorted(range(len(values)), key=values.__getitem__)
        span = values[order[-1]] / 2 - values[order[0]] / 2
        room[order[0]] = room[order[-1]] = math.inf
        for below, index, above in zip(order, order[1:], order[2:], strict=False):
            room[index] += (values[above] / 2 - values[below] / 2) / span if span else 0.0
    return room


def best(losses: Losses, count: int) -> list[int]:
    """The indices of the `count` best: whole fronts, and of the last one those with the most room."""
    chosen: list[int] = []
    for front in fronts(losses, count):
        room = crowding([losses[index] for index in front])
        by_room = sorted(range(len(front)), key=lambda place: -room[place])
        chosen += [front[place] for place in by_room[: count - len(chosen)]]
    return chosen
