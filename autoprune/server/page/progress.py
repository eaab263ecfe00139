"""How far an experiment is: a bar of its trials by state, and the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.records import TrialState
from autoprune.results.models import Experiment
from autoprune.server.page.formats import words

_ORDER = (
    TrialState.SUCCEEDED,
    TrialState.EARLY_STOPPED,
    TrialState.USER_CANCELED,
    TrialState.INVALID,
    TrialState.FAILED,
    TrialState.RUNNING,
    TrialState.WAITING,
)


@dataclass(frozen=True)
class Part:
    """The trials in one state: how many, and where they lie in a bar of 100."""

    state: TrialState
    count: int
    start: float
    width: float


@dataclass(frozen=True)
class Progress:
    """How many trials have ended; those `beside` were imported, or repeat others, and count towards no limit."""

    finished: int
    limit: int | None
    beside: int
    parts: Sequence[Part]

    @property
    def said(self) -> str:
        return f"{self.finished:,}" if self.limit is None else f"{self.finished:,} of {self.limit:,}"

    @property
    def states(self) -> str:
        return ", ".join(f"{part.count:,} {words(part.state)}" for part in self.parts) or "no trials"

    def left(self, trials_per_hour: float | None) -> float | None:
        """Seconds, at this pace; None where nothing tells."""
        if self.limit is None or not trials_per_hour:
            return None
        return (self.limit - self.finished) / trials_per_hour * 3600


def progress_of(experiment: Experiment) -> Progress:
    """Repeats come after the last trial, so what has ended beyond the limit is repeats."""
    counts = [(state, experiment.trials[state]) for state in _ORDER if experiment.trials.get(state)]
    known = sum(count for _, count in counts)
    ended = sum(count for state, count in counts if state.finished)
    limit, here = experiment.limits.maxTrialNumber, ended - experiment.imported
    finished = here if limit is None else min(here, limit)
    whole = max(known, limit or 0, 1)
    parts, start = [], 0.0
    for state, count in counts:
        width = 100 * count / whole
        parts.append(Part(state, count, round(start, 3), round(width, 3)))
        start += width
    return Progress(finished, limit, ended - finished, parts)
