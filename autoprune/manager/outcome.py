"""How an experiment ended for now, and with which exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.config import ExperimentConfig
from autoprune.manager.constraints import nearest
from autoprune.records import ExperimentState, OptimizeMode, Trial
from autoprune.standings import standings


@dataclass(frozen=True)
class Outcome:
    """How the experiment ended for now; `code` is the exit code."""

    state: ExperimentState
    code: int
    message: str


def done(why: str, succeeded: int, trials: Sequence[Trial], config: ExperimentConfig) -> Outcome:
    """The end of an experiment that came to its end by itself: 0, 1 where no trial succeeded, 3 where none is feasible.

    Without constraints, `trials` are of no account.
    """
    if not succeeded:
        return Outcome(ExperimentState.DONE, 1, f"{why}; no trial succeeded")
    highest = config.optimize_mode is OptimizeMode.MAXIMIZE
    if config.constraints and not standings(trials, highest=highest):
        close = nearest(trials, config.constraints)
        return Outcome(ExperimentState.DONE, 3, f"{why}; no trial is feasible; the nearest is {close}")
    return Outcome(ExperimentState.DONE, 0, why)
