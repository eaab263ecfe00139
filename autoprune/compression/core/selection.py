"""Exact selection: which k elements go.

Every pruner selects through this module, so that k is exact, ties break by index and memory stays small in one place.
The scores of a layer are read in stretches that fit the processor's cache; they need not exist as a whole. A sorted
sample brackets the k-th smallest value; a pass over all scores marks what is below the bracket and collects the few
inside it, among which the rest is chosen by partition. A sample that misleads costs another pass, never exactness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]

SAMPLE = 1 << 16
"""How many scores the sample draws; of so few no sample is drawn."""
STRETCH = 1 << 14
"""How many scores are read at a time: few enough for the cache, and too few for a framework to split among threads."""
SIGMAS = 4.0
"""Half the width of the first bracket, in standard deviations of a rank in the sample."""
WIDER = 8.0
"""By how much a bracket grows that has missed."""


class Source(Protocol):
    """The scores of one layer, read in stretches."""

    @property
    def size(self) -> int: ...

    def stretch(self, start: int, stop: int) -> Values:
        """The scores from start to stop, float32 or float64; they may be overwritten by the next call."""
        ...

    def at(self, index: NDArray[np.intp]) -> Values:
        """The scores at sorted positions."""
        ...


@dataclass(frozen=True)
class Array:
    """Scores that lie in a vector."""

    values: Values

    @property
    def size(self) -> int:
        return self.values.size

    def stretch(self, start: int, stop: int) -> Values:
        return self.values[start:stop]

    def at(self, index: NDArray[np.intp]) -> Values:
        return self.values[index]


def whole(source: Source) -> Values:
    """All scores of a source in a vector."""
    if isinstance(source, Array):
        return source.values
    ends = range(STRETCH, source.size + STRETCH, STRETCH)
    read = [source.stretch(end - STRETCH, min(end, source.size)).copy() for end in ends]
    return np.concatenate(read) if read else np.empty(0)


class NotANumber(ValueError):
    """A candidate's score is NaN; `source` is the position of its source."""

    def __init__(self, source: int) -> None:
        super().__init__(f"source {source} has a score that is NaN; expected numbers")
        self.source = source


def smallest(sources: Sequence[Source], k: int, among: Sequence[Mask | None] | None = None) -> list[Mask]:
    """Mark exactly the k smallest of all sources together.

    Of equal scores, those go that come first: by source, then by index. `among` restricts a source to the elements
    marked; None takes all.
    """
    limits = [None] * len(sources) if among is None else among
    parts = [_Part(source, limit) for source, limit in zip(sources, limits, strict=True)]
    count = sum(part.count() for part in parts)
    if k <= 0:
        return [np.zeros(part.size, dtype=np.bool_) for part in parts]
    if k >= count:
        return [np.ones(part.size, dtype=np.bool_) if part.among is None else part.among.copy() for part in parts]
    _mark(parts, k, _sample(parts) if count > SAMPLE else np.empty(0), k / count)
    return [part.mask for part in parts]


class _Part:
    """A source, the elements of it that may go, and the mask in which they are marked."""

    def __init__(self, source: Source, among: Mask | None) -> None:
        self.source = source
        self.size = source.size
        self.among = among
        self.mask: Mask = np.empty(self.size, dtype=np.bool_)

    def count(self) -> int:
        return self.size if self.among is None else _count(self.among)

    def stretches(self) -> Iterator[tuple[Values, Mask | None, Mask]]:
        """Scores, which of them may go, and their place in the mask."""
        for start in range(0, self.size, STRETCH):
            stop = min(start + STRETCH, self.size)
            among = None if self.among is None else self.among[start:stop]
            yield self.source.stretch(start, stop), among, self.mask[start:stop]


@dataclass(frozen=True)
class _Inside:
    """What a stretch has strictly inside the bracket: its place in the mask, the positions there, the scores."""

    mask: Mask
    index: NDArray[np.intp]
    values: Values


def _sample(parts: Sequence[_Part]) -> Values:
    """Scores at random positions, sorted; a position that may not go is passed over."""
    ends = np.cumsum([part.size for part in parts])
    positions = np.sort(np.random.default_rng(0).integers(ends[-1], size=SAMPLE))
    drawn = []
    for part, end, index in zip(parts, ends, np.split(positions, np.searchsorted(positions, ends[:-1])), strict=True):
        index = index - (end - part.size)
        drawn.append(part.source.at(index if part.among is None else index[part.among[index]]).copy())
    return np.sort(np.concatenate(drawn))


def _mark(parts: Sequence[_Part], k: int, sample: Values, share: float) -> None:
    """Mark the k smallest, `share` of all, by a bracket that moves and widens until the k-th smallest is in it.

    Elements equal to an end of the bracket are never collected. So the first bracket is a single value where the
    sample says that the k-th smallest is one of many that are equal.
    """
    rank = share * sample.size
    margin = SIGMAS * math.sqrt(rank * (1 - share)) + 1
    low, middle, high = (_at_rank(sample, rank + off) for off in (-margin, 0, margin))
    if low == middle:
        high = low
    while True:
        lower, below, inside = _scan(parts, low, high)
        if lower < k <= below:
            return _settle(inside, k - lower)
        margin *= WIDER
        if k <= below:
            low, high = _at_rank(sample, rank - margin), low
        elif _mark_equal(parts, high, k - below):
            return None
        else:
            low, high = high, _at_rank(sample, rank + margin)


def _at_rank(ordered: Values, rank: float) -> float:
    """The value at a rank; beyond the ends, infinity."""
    if rank < 0:
        return -math.inf
    return float(ordered[int(rank)]) if rank < ordered.size else math.inf


def _scan(parts: Sequence[_Part], low: float, high: float) -> tuple[int, int, list[_Inside]]:
    """Mark what is below `high`; count what is at most `low` and what is below `high`, and collect what is between."""
    lower = below = 0
    inside = []
    for number, part in enumerate(parts):
        for values, among, mask in part.stretches():
            _reject_nan(number, values, among)
            np.less(values, _rounded(high, values.dtype, math.inf), out=mask)
            at_most_low = values <= _rounded(low, values.dtype, -math.inf)
            if among is not None:
                mask &= among
                at_most_low &= among
            lower += _count(at_most_low)
            below += _count(mask)
            index = np.flatnonzero(mask > at_most_low)
            inside.append(_Inside(mask, index, values[index]))
    return lower, below, inside


def _reject_nan(number: int, values: Values, among: Mask | None) -> None:
    if np.isnan(values.max()) and np.isnan(values if among is None else values[among]).any():
        raise NotANumber(number)


def _settle(inside: Sequence[_Inside], k: int) -> None:
    """Leave only the k smallest of what is inside the bracket marked."""
    values = np.concatenate([few.values for few in inside])
    threshold = np.partition(values, k - 1)[k - 1]
    chosen = values < threshold
    chosen |= _first(values == threshold, k - _count(chosen))
    start = 0
    for few in inside:
        few.mask[few.index] = chosen[start : start + few.index.size]
        start += few.index.size


def _mark_equal(parts: Sequence[_Part], value: float, k: int) -> bool:
    """Where everything below a value is marked: mark the first k equal to it as well. Whether there are so many."""
    for part in parts:
        for values, among, mask in part.stretches():
            equal = (values <= _rounded(value, values.dtype, -math.inf)) > mask
            if among is not None:
                equal &= among
            ties = _first(equal, k)
            mask |= ties
            k -= _count(ties)
            if k == 0:
                return True
    return False


def _count(marked: Mask) -> int:
    return int(np.count_nonzero(marked))


def _first(marked: Mask, k: int) -> Mask:
    """The first k of the elements marked, or all."""
    if _count(marked) > k:
        marked[np.flatnonzero(marked)[k:]] = False
    return marked


@lru_cache(maxsize=64)
def _rounded(value: float, kind: np.dtype[np.floating[Any]], towards: float) -> np.floating[Any]:
    """The number of a type that is next to a value in a direction, so that comparing in that type is exact."""
    with np.errstate(over="ignore"):
        near = kind.type(value)
    missed = float(near) < value if towards > value else float(near) > value
    return np.nextafter(near, kind.type(towards)) if missed else near
