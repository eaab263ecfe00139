"""What the figures have in common in what they read out of trials."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from autoprune.records import JSON, OptimizeMode, TrialState
from autoprune.results.export import leaves
from autoprune.results.models import Trial
from autoprune.search_space.leaves import is_number

T = TypeVar("T")

Paths: TypeAlias = Callable[[Mapping[str, JSON]], Iterable[tuple[str, JSON]]]
"""How nested parameters are told apart: `results.export.leaves` makes one column of what branches of a choice have in
common, `results.importance.paths` one for each branch."""

_LARGE = 1e15
_FARTHEST = 1e300
"""What Plotly can still draw an axis to."""


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many, at even distances; the first and the last are among them."""
    if len(items) <= most:
        return list(items)
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def part(shown: int, of: int, what: str, how: str = "") -> str:
    """What to say where not all is shown; empty where all is."""
    return "" if shown == of else f"{shown:,} of {of:,} {what} are shown{f', {how}' if how else ''}"


def number(value: JSON) -> float | None:
    """A value as a number of a figure; None where it is none, or too far from zero to be drawn."""
    try:
        found = float(value) if is_number(value) else math.nan
    except OverflowError:
        return None
    return found if abs(found) <= _FARTHEST else None


def too_far(values: Iterable[JSON]) -> str:
    """What to say of the numbers that are too far from zero to be drawn; empty where there are none."""
    count = sum(is_number(value) and number(value) is None for value in values)
    return f"{count:,} value{' is' if count == 1 else 's are'} too far from zero to be drawn" if count else ""


def sign(mode: OptimizeMode | str) -> int:
    """What to multiply values by, so that more is better."""
    return 1 if OptimizeMode(mode) is OptimizeMode.MAXIMIZE else -1


def written(value: JSON) -> str:
    """A number as people read it; anything else as it is, and nothing for None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value.is_integer() and 1000 <= abs(value) < _LARGE else f"{value:.6g}"


def succeeded(trials: Iterable[Trial]) -> list[Trial]:
    """Those that may be compared by their values: they ended well, break no constraint, and can be drawn."""
    return [
        trial
        for trial in trials
        if trial.state is TrialState.SUCCEEDED and trial.feasible and number(trial.value) is not None
    ]


def ranked(trials: Iterable[Trial], mode: OptimizeMode | str) -> list[Trial]:
    """The same without repeats, the best last; of equal ones the first is better."""
    up = sign(mode)
    own = [trial for trial in succeeded(trials) if trial.repeat_of is None]
    return sorted(own, key=lambda trial: (up * (trial.value or 0.0), -trial.number))


def columns(trials: Iterable[Trial], paths: Paths = leaves) -> dict[str, list[JSON]]:
    """The parameters of trials: for each path the value of each trial, None where a trial has none there."""
    flat = [dict(paths(trial.parameters)) for trial in trials]
    return {path: [row.get(path) for row in flat] for path in dict.fromkeys(path for row in flat for path in row)}


def vary(values: Iterable[JSON]) -> bool:
    """Whether not all are the same."""
    return len({json.dumps(value) for value in values}) > 1
