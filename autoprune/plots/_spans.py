"""When trials ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from autoprune.records import seconds
from autoprune.results.models import Attempt, Trial

Retried = Mapping[int, Sequence[Attempt]]
"""The attempts of trials that were started more than once or wait for it, by their numbers."""


@dataclass(frozen=True)
class Span:
    """When a trial ran, in seconds; what still runs ends at the latest time that any trial tells."""

    trial: Trial
    start: float
    end: float
    message: str


def spans(trials: Iterable[Trial], retried: Retried) -> list[Span]:
    """Of all attempts, in the order in which they started; where those of a trial are not given, it counts as one."""
    begun = [(trial, seconds(run.started), run) for trial in trials for run in _runs(trial, retried) if run.started]
    ends = [run.ended and seconds(run.ended) for *_, run in begun]
    latest = max((end or start for end, (_, start, _) in zip(ends, begun, strict=True)), default=0.0)
    found = [
        Span(trial, start, max(start, end or latest), run.message)
        for end, (trial, start, run) in zip(ends, begun, strict=True)
    ]
    return sorted(found, key=attrgetter("start"))


def _runs(trial: Trial, retried: Retried) -> Sequence[Trial | Attempt]:
    return retried.get(trial.number) or [trial]
