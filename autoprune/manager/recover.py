"""Taking up an experiment whose manager is gone: what its last attempts came to, and what is still to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from autoprune.config import ExperimentConfig
from autoprune.manager.advisor import Message
from autoprune.manager.journal import Journal
from autoprune.manager.verdict import Cut, conclude
from autoprune.protocol import ReportReader
from autoprune.records import Metric, Trial, TrialState, seconds, timestamp
from autoprune.runners.base import Runner, Started, read_exit
from autoprune.store import Attempt, Experiment, Store, Workspace, metrics, trials


@dataclass(frozen=True)
class TakenUp:
    """Where an experiment stands when a manager begins. `next` is the number of the trial to come; `created` and
    `succeeded` count trials that were made here, the first of them without repeats, `finished` also imported ones, for
    tuners know them all; `failures` counts the failed attempts of waiting trials; `begun` how many starting points have
    become trials."""

    waiting: list[Trial] = field(default_factory=list)
    next: int = 0
    created: int = 0
    finished: int = 0
    succeeded: int = 0
    failures: dict[int, int] = field(default_factory=dict)
    begun: int = 0
    active_seconds: float = 0.0


def take_up(experiment: Experiment, store: Store, workspace: Workspace, runner: Runner, journal: Journal) -> TakenUp:
    """End what an earlier manager left running, take in the reports that it missed, and count."""
    with store.read() as tx:
        interrupted = trials.all(tx, experiment.id, [TrialState.RUNNING])
    for trial in interrupted:
        _settle(experiment, trial, store, workspace, runner, journal)
    with store.read() as tx:
        every = trials.all(tx, experiment.id)
        waiting = [trial for trial in every if trial.state is TrialState.WAITING]
        failures = {trial.number: _failures(trials.attempts(tx, experiment.id, trial.number)) for trial in waiting}
    own = [trial for trial in every if not trials.imported(trial)]
    return TakenUp(
        waiting=waiting,
        next=len(every),
        created=sum(trial.repeat_of is None for trial in own),
        finished=sum(trial.state.finished for trial in every),
        succeeded=sum(trial.state is TrialState.SUCCEEDED for trial in own),
        failures=failures,
        begun=sum(bool(trial.origin) and trial.repeat_of is None for trial in own),
        active_seconds=experiment.active_seconds,
    )


def history(store: Store, experiment: str) -> Iterator[Message]:
    """All that the advisor knew, in the order in which trials finished."""
    with store.read() as tx:
        every = trials.all(tx, experiment)
        curves = metrics.intermediates(tx, experiment)
    for trial in every:
        values = curves.get((trial.number, trial.attempts - 1))
        if values:
            yield {"do": "reported", "number": trial.number, "values": values, "restart": True}
        if not trial.state.finished:
            yield {"do": "created", "trial": asdict(trial)}
    finished = [trial for trial in every if trial.finish_order is not None]
    for trial in sorted(finished, key=lambda trial: trial.finish_order or 0):
        yield {"do": "finished", "trial": asdict(trial)}


def _settle(
    experiment: Experiment, trial: Trial, store: Store, workspace: Workspace, runner: Runner, journal: Journal
) -> None:
    """Decide what became of a trial that was running when its manager died: unless it reported a final result, it
    runs again."""
    with store.read() as tx:
        attempt = trials.attempts(tx, experiment.id, trial.number)[-1]
        every = metrics.of_trial(tx, experiment.id, trial.number)
    known = [report for report in every if report.attempt == attempt.attempt]
    folder = workspace.attempt(experiment.id, trial.number, attempt.attempt)
    runner.reclaim(folder, _process(attempt))
    reports = ReportReader(folder, attempt.attempt).read()
    missed = [report for report in reports if report.seq >= _next(known)]
    if missed:
        journal.reported(trial.number, missed)
    final = next((report for report in reports if report.final), None)
    exit = read_exit(folder) if final is not None else None
    config = ExperimentConfig.from_json(experiment.config)
    ending = conclude(exit, final, None, None, "", "", config.objectives, config.constraints)
    journal.attempt_ended(trial.number, attempt.attempt, exit, ending, _time(final))


def _process(attempt: Attempt) -> Started | None:
    if attempt.pid is None or attempt.pid_created is None:
        return None
    return Started(attempt.pid, attempt.pid_created)


def _time(final: Metric | None) -> str | None:
    """When the final result came, unless the trial wrote something else there; the end is noticed much later."""
    try:
        return timestamp(seconds(final.time)) if final else None
    except (ValueError, OverflowError):
        return None


def _next(known: list[Metric]) -> int:
    return max((report.seq + 1 for report in known), default=0)


def _failures(attempts: list[Attempt]) -> int:
    """How many attempts failed by themselves since somebody last asked for the trial again: somebody saw their end,
    and it was not the experiment's."""
    first = max((attempt.attempt + 1 for attempt in attempts if attempt.message.endswith(trials.AGAIN)), default=0)
    seen = [attempt for attempt in attempts if attempt.exit_code is not None or attempt.signal is not None]
    return sum(attempt.attempt >= first and attempt.message != Cut.INTERRUPTED.value for attempt in seen)
