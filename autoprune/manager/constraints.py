"""Constraints: which of them a result breaks, by how much, and what the tuner hears of such a trial.

As in Deb, An Efficient Constraint Handling Method for Genetic Algorithms (2000): any feasible result is better than
any infeasible one, and of these the one that breaks less is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autoprune.config import ExperimentConfig
from autoprune.config.search import Bounds
from autoprune.errors import nearest as nearest_name
from autoprune.protocol import DEFAULT
from autoprune.records import JSON, OptimizeMode, Trial, TrialState
from autoprune.search_space.leaves import is_number


@dataclass(frozen=True)
class Violation:
    """A constraint that a result breaks, in words, and by what share of the bound; infinite where it has no number."""

    text: str
    share: float

    def __str__(self) -> str:
        return self.text


def violations(values: Mapping[str, JSON], constraints: Mapping[str, Bounds]) -> list[Violation]:
    """All constraints that a final result with these values breaks."""
    found = (_violation(name, values, bounds) for name, bounds in constraints.items())
    return [violation for violation in found if violation is not None]


def _violation(name: str, values: Mapping[str, JSON], bounds: Bounds) -> Violation | None:
    given = values.get(name)
    if not is_number(given):
        return Violation(_lacking(name, values), math.inf)
    if bounds.min is not None and given < bounds.min:
        return _beyond(name, given, "below", bounds.min)
    if bounds.max is not None and given > bounds.max:
        return _beyond(name, given, "above", bounds.max)
    return None


def _beyond(name: str, given: float, side: str, bound: float) -> Violation:
    by = abs(given - bound)
    return Violation(f"{name} is {given:.6g}, {side} {bound:.6g} by {by:.6g}", by / (abs(bound) or 1.0))


def _lacking(name: str, values: Mapping[str, JSON]) -> str:
    if name in values:
        return f"{name} is {values[name]!r}, not a finite number"
    close = nearest_name(name, list(values))
    return f"{name} is not in its final result" + (f" (did {close} mean {name}?)" if close else "")


def share(trial: Trial, constraints: Mapping[str, Bounds]) -> float:
    """By how much a trial breaks its constraints, all together: 0 where it is feasible."""
    return sum(violation.share for violation in violations(trial.metrics, constraints))


def nearest(trials: Iterable[Trial], constraints: Mapping[str, Bounds]) -> str:
    """Which of the succeeded trials comes closest to being feasible, and what it lacks; empty where none succeeded."""
    succeeded = [trial for trial in trials if trial.state is TrialState.SUCCEEDED]
    if not succeeded:
        return ""
    closest = min(succeeded, key=lambda trial: (share(trial, constraints), trial.number))
    broken = "; ".join(map(str, violations(closest.metrics, constraints)))
    return f"trial {closest.number}: {broken}"


class Penalty:
    """Turns finished trials, in their order, into what a tuner hears of them; see `Tuner`."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._constraints = config.constraints
        self._modes = {DEFAULT: config.optimize_mode, **config.objectives}
        self._known: dict[str, tuple[float, float]] = {}

    def heard(self, trial: Trial) -> Trial:
        if trial.state is not TrialState.SUCCEEDED or not self._constraints:
            return trial
        if trial.feasible:
            self._remember(trial)
            return trial
        if not self._known:
            return replace(trial, state=TrialState.INVALID, value=None)
        broken = share(trial, self._constraints)
        worse = {name: _behind(*known, broken, self._modes[name]) for name, known in self._known.items()}
        return replace(trial, value=worse[DEFAULT], metrics={**trial.metrics, **worse})

    def _remember(self, trial: Trial) -> None:
        """The best and the worst of all feasible results, number by number."""
        for name, mode in self._modes.items():
            value = trial.value if name == DEFAULT else trial.metrics.get(name)
            if is_number(value):
                seen: Sequence[float] = [*self._known.get(name, ()), float(value)]
                ends = (max(seen), min(seen)) if mode is OptimizeMode.MAXIMIZE else (min(seen), max(seen))
                self._known[name] = ends


def _behind(best: float, worst: float, broken: float, mode: OptimizeMode) -> float:
    """A value behind the worst, the further the more is broken: at the most as far as the worst is behind the best.

    While all are equal, it is as if one were a tenth of its value worse: else what is infeasible would equal the best.
    """
    further = 1.0 if math.isinf(broken) else broken / (1 + broken)
    least = worst
    if best == worst:
        tenth = abs(worst) / 10 or 0.1
        least = worst - tenth if mode is OptimizeMode.MAXIMIZE else worst + tenth
    value = least + (least - best) * further
    return value if math.isfinite(value) else worst
