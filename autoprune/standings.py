"""Which trial is the best, where some ran again with fresh seeds.

The first value of a leader is inflated: it leads partly because it was lucky. So where trials were repeated, they are
judged by the mean of their repeats alone, and the best is a repeated one. The noise is the standard deviation within
the sets of repeats, pooled over all of them.

A trial that breaks a constraint is never the best, nor is one with a repeat that does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from autoprune.records import Trial, TrialState

LEAST_FREEDOM = 2
"""Degrees of freedom below which a standard deviation says nothing."""

LEVEL = 0.05
"""How often a search that found nothing better is called ahead, at the most."""

SAME_AS = "same_as"
"""In a result: the number of the earlier trial whose result this is, since it came to the same."""


@dataclass(frozen=True)
class Standing:
    """How good a trial is: its own `value`, and the `mean` of its repeats, which has this standard error.

    The mean is None where there are no repeats, the error where the noise is not known either.
    """

    trial: Trial
    value: float
    repeats: tuple[Trial, ...] = ()
    mean: float | None = None
    error: float | None = None

    @property
    def honest(self) -> float:
        """The mean where there is one, else the value."""
        return self.value if self.mean is None else self.mean


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a result over seeds, and the degrees of freedom that it was found with."""

    deviation: float
    freedom: int


@dataclass(frozen=True)
class Contest:
    """The best trial beside the best starting point; see `leader_and_rival`."""

    winner: Standing
    rival: Standing | None
    noise: float | None
    ahead: bool | None


def standings(trials: Iterable[Trial], *, highest: bool) -> list[Standing]:
    """All that may be the best, the best first: repeated trials by their means, then the others by their values."""
    succeeded = [trial for trial in trials if trial.state is TrialState.SUCCEEDED and trial.value is not None]
    sets = _repeats(succeeded)
    pooled = _noise(sets.values())
    spread = None if pooled is None else pooled.deviation
    sign = -1 if highest else 1
    found = [
        _standing(trial, sets.get(trial.number, []), spread)
        for trial in succeeded
        if trial.repeat_of is None and all(one.feasible for one in (trial, *sets.get(trial.number, [])))
    ]
    return sorted(found, key=lambda one: (one.mean is None, sign * one.honest, one.trial.number))


def noise(trials: Iterable[Trial]) -> float | None:
    """The standard deviation of a result over seeds: squares about the mean of each set of repeats, over the degrees
    of freedom of all sets. None where there are fewer than two."""
    pooled = _noise(_repeats(trials).values())
    return None if pooled is None else pooled.deviation


def leader_and_rival(trials: Sequence[Trial], *, highest: bool) -> Contest | None:
    """The best trial and the best starting point, and whether the first is ahead by more than noise.

    It is `ahead` by Student's t test, one-sided, at 5 %: where |difference of the means| > t * noise * sqrt(1/n + 1/m),
    with n and m repeats. t is that of the noise's degrees of freedom. The winner is the best of several that were
    repeated, any of which could be lucky, so the 5 % are divided by their number (Bonferroni). None where nobody can
    tell: no starting point, no repeats, or no noise, as of a task that seeds itself. A best trial that is itself a
    starting point is not ahead.
    """
    found = standings(trials, highest=highest)
    if not found:
        return None
    winner, pooled = found[0], _noise(_repeats(trials).values())
    rival = next((one for one in found if one.trial.origin), None)
    compared = sum(one.mean is not None and not one.trial.origin for one in found)
    ahead = _ahead(winner, rival, pooled, compared)
    return Contest(winner, rival, None if pooled is None else pooled.deviation, ahead)


def _ahead(winner: Standing, rival: Standing | None, pooled: Noise | None, compared: int) -> bool | None:
    if winner is rival:
        return False
    if rival is None or pooled is None or not pooled.deviation or winner.mean is None or rival.mean is None:
        return None
    from scipy.special import stdtrit

    error = pooled.deviation * math.sqrt(1 / len(winner.repeats) + 1 / len(rival.repeats))
    return abs(winner.mean - rival.mean) > float(stdtrit(pooled.freedom, 1 - LEVEL / compared)) * error


def _repeats(trials: Iterable[Trial]) -> dict[int, list[Trial]]:
    """The succeeded repeats of each trial."""
    sets: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.repeat_of is not None and trial.state is TrialState.SUCCEEDED and trial.value is not None:
            sets.setdefault(trial.repeat_of, []).append(trial)
    return sets


def _standing(trial: Trial, repeats: Sequence[Trial], spread: float | None) -> Standing:
    assert trial.value is not None
    if not repeats:
        return Standing(trial, trial.value)
    error = None if spread is None else spread / math.sqrt(len(repeats))
    return Standing(trial, trial.value, tuple(repeats), fmean(values(repeats)), error)


def values(trials: Iterable[Trial]) -> list[float]:
    """Their values, where they have one."""
    return [trial.value for trial in trials if trial.value is not None]


def _noise(sets: Iterable[Sequence[Trial]]) -> Noise | None:
    squares, freedom = 0.0, 0
    for numbers in map(values, sets):
        mean = fmean(numbers)
        squares += sum((number - mean) ** 2 for number in numbers)
        freedom += len(numbers) - 1
    return Noise(math.sqrt(squares / freedom), freedom) if freedom >= LEAST_FREEDOM else None
