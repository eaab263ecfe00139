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
    """How many trials have ended; those that were imported, or repeat others, count towards no limit.

    More have ended than the `limit` allows where that was lowered later.
    """

    finished: int
    limit: int | None
    imported: int
    repeated: int
    parts: Sequence[Part]

    @property
    def said(self) -> str:
        within = self.limit is not None and self.finished <= self.limit
        return f"{self.finished:,} of {self.limit:,}" if within else f"{self.finished:,}"

    @property
    def beside(self) -> str:
        """The others that have ended, and a limit that is passed; empty where there is none of it."""
        counts = ((self.imported, "imported"), (self.repeated, "repeated"))
        others = " and ".join(f"{count:,} {how}" for count, how in counts if count)
        passed = self.limit is not None and self.finished > self.limit
        return ", ".join(filter(None, (others and f"and {others}", f"the limit is {self.limit:,}" if passed else "")))

    @property
    def states(self) -> str:
        return ", ".join(f"{part.count:,} {words(part.state)}" for part in self.parts) or "no trials"

    def left(self, trials_per_hour: float | None) -> float | None:
        """Seconds, at this pace; None where nothing tells."""
        if self.limit is None or not trials_per_hour:
            return None
        return max(0, self.limit - self.finished) / trials_per_hour * 3600


def progress_of(experiment: Experiment) -> Progress:
    counts = [(state, experiment.trials[state]) for state in _ORDER if experiment.trials.get(state)]
    known = sum(count for _, count in counts)
    ended = sum(count for state, count in counts if state.finished)
    limit = experiment.limits.maxTrialNumber
    whole = max(known, limit or 0, 1)
    parts, start = [], 0.0
    for state, count in counts:
        width = 100 * count / whole
        parts.append(Part(state, count, round(start, 3), round(width, 3)))
        start += width
    finished = ended - experiment.imported - experiment.repeated
    return Progress(finished, limit, experiment.imported, experiment.repeated, parts)
