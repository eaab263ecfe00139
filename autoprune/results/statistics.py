"""An experiment in numbers: what the overview needs, from one read of all trials in short."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from autoprune.records import OptimizeMode, TrialState
from autoprune.results.models import Durations, Improvement, Statistics
from autoprune.store.trials import Outline

MOST_IMPROVEMENTS = 200


def statistics_of(trials: Sequence[Outline], mode: OptimizeMode, active_seconds: float) -> Statistics:
    """`active_seconds` is how long the experiment has run, pauses left out."""
    counts = Counter(trial.state for trial in trials)
    finished = sum(count for state, count in counts.items() if state.finished)
    ran = [trial for trial in trials if trial.attempts]
    ended = sum(trial.state.finished for trial in ran)
    return Statistics(
        total=len(trials),
        trials=dict(counts),
        finished=finished,
        success_rate=counts[TrialState.SUCCEEDED] / finished if finished else None,
        first_started=min((trial.started for trial in trials if trial.started), default=None),
        last_ended=max((trial.ended for trial in trials if trial.ended), default=None),
        durations=_durations(trials),
        trials_per_hour=ended / active_seconds * 3600 if active_seconds > 0 else None,
        improvements=thinned(_improvements(trials, mode)),
        starting_points=sum(bool(trial.origin) and trial.repeat_of is None for trial in trials),
        repeats=sum(trial.repeat_of is not None for trial in trials),
        infeasible=sum(not trial.feasible for trial in trials),
        imported=sum(not trial.attempts and trial.state is TrialState.SUCCEEDED for trial in trials),
        retried=sum(trial.attempts > 1 for trial in trials),
    )


def thinned(improvements: Sequence[Improvement]) -> list[Improvement]:
    """All of them where they are few, else some, as far apart as can be, the first and the last among them."""
    if len(improvements) <= MOST_IMPROVEMENTS:
        return list(improvements)
    step = (len(improvements) - 1) / (MOST_IMPROVEMENTS - 1)
    return [improvements[round(place * step)] for place in range(MOST_IMPROVEMENTS)]


def _durations(trials: Iterable[Outline]) -> Durations | None:
    """Of the trials that ran here and have ended."""
    seconds = sorted(trial.duration for trial in trials if trial.state.finished and trial.duration is not None)
    if not seconds:
        return None
    return Durations(
        count=len(seconds),
        total=math.fsum(seconds),
        mean=statistics.fmean(seconds),
        median=statistics.median(seconds),
        p95=seconds[math.ceil(0.95 * len(seconds)) - 1],
        longest=seconds[-1],
    )


def _improvements(trials: Iterable[Outline], mode: OptimizeMode) -> list[Improvement]:
    """The trials that were better than all that had finished before them."""
    sign = 1 if mode is OptimizeMode.MAXIMIZE else -1
    found: list[Improvement] = []
    for trial in sorted((one for one in trials if _counts(one)), key=lambda one: one.finish_order or 0):
        value = trial.value
        if value is not None and (not found or sign * value > sign * found[-1].value):
            found.append(Improvement(number=trial.number, value=value, ended=trial.ended))
    return found


def _counts(trial: Outline) -> bool:
    return trial.state is TrialState.SUCCEEDED and trial.feasible and trial.repeat_of is None
