"""The only writer of an experiment's results: each thing that happens is one transaction, then one notice.

A notice is a dict, `{"event": ..., "time": ..., ...}`: a line of `run --json`, and what the live view is drawn from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from autoprune.errors import StoreError, UsageError
from autoprune.manager.changes import Change, make
from autoprune.manager.verdict import Ending
from autoprune.records import JSON, Exit, ExperimentState, Metric, Trial, TrialState, timestamp
from autoprune.runners.base import Started
from autoprune.store import Command, Store, commands, events, experiments, metrics, models, trials

log = logging.getLogger(__name__)

Notice = dict[str, Any]
Listener = Callable[[Notice], None]

_LONGEST_PHASE = 300


class Journal:
    """Writes down what happens to one experiment, by the runner's clock, and tells a listener."""

    def __init__(self, store: Store, experiment: str, now: Callable[[], float], listener: Listener) -> None:
        self._store = store
        self._experiment = experiment
        self._now = now
        self._listener: Listener | None = listener

    def experiment_started(self, resumed: bool) -> None:
        with self._store.write() as tx:
            experiments.set_state(tx, self._experiment, ExperimentState.RUNNING)
            notice = self._event(tx, "experiment_resumed" if resumed else "experiment_started", {})
        self._tell(notice)

    def experiment_ending(self, state: ExperimentState, message: str) -> str:
        """Write down how it ended, for what is made of that before it is told; returns when."""
        time = timestamp(self._now())
        with self._store.write(durable=True) as tx:
            experiments.set_state(tx, self._experiment, state, time, message)
        return time

    def experiment_ended(self, state: ExperimentState, message: str, time: str | None = None) -> None:
        """It ended now, unless it was earlier."""
        with self._store.write(durable=True) as tx:
            experiments.set_state(tx, self._experiment, state, time or timestamp(self._now()), message)
            notice = self._event(tx, "experiment_ended", {"state": state, "message": message})
        self._tell(notice)

    def active(self, seconds: float) -> None:
        """How long the experiment has run so far, all its managers together."""
        with self._store.write() as tx:
            experiments.set_active_seconds(tx, self._experiment, seconds)

    def trial_created(self, trial: Trial) -> None:
        with self._store.write() as tx:
            trials.create(tx, self._experiment, trial)

    def trials(self) -> list[Trial]:
        """All there are, in the order of their numbers."""
        with self._store.read() as tx:
            return trials.all(tx, self._experiment)

    def attempt_started(self, number: int, attempt: int) -> None:
        """Written before the process is started, so that no process can be unknown."""
        with self._store.write() as tx:
            trials.start(tx, self._experiment, number, attempt, timestamp(self._now()))
            trial = trials.get(tx, self._experiment, number)
            data = {"trial": number, "attempt": attempt, "parameters": trial.parameters, **_whence(trial)}
            notice = self._event(tx, "trial_started", data)
        self._tell(notice)

    def process_started(self, number: int, attempt: int, process: Started) -> None:
        with self._store.write() as tx:
            trials.set_process(tx, self._experiment, number, attempt, process.pid, process.created)

    def reported(self, number: int, reports: Sequence[Metric]) -> None:
        with self._store.write(durable=any(report.final for report in reports)) as tx:
            metrics.add(tx, self._experiment, number, reports)
        for report in reports:
            self._tell(events.report_notice(number, report))

    def attempt_ended(
        self, number: int, attempt: int, exit: Exit | None, ending: Ending, time: str | None = None
    ) -> Trial:
        """The end of an attempt, now unless it was earlier, and what becomes of its trial, in one."""
        time = time or timestamp(self._now())
        with self._store.write(durable=True) as tx:
            trials.end_attempt(tx, self._experiment, number, attempt, time, exit, ending.message)
            data: dict[str, JSON] = {"trial": number, "attempt": attempt, "state": ending.state}
            if ending.state is TrialState.WAITING:
                trials.wait_again(tx, self._experiment, number, ending.message)
            else:
                trials.finish(
                    tx,
                    self._experiment,
                    number,
                    ending.state,
                    time,
                    value=ending.value,
                    metrics=dict(ending.metrics),
                    message=ending.message,
                    feasible=ending.feasible,
                )
                data |= {"value": ending.value} | ({} if ending.feasible else {"feasible": False})
            trial = trials.get(tx, self._experiment, number)
            notice = self._event(tx, "trial_ended", {**data, "message": ending.message, **_whence(trial)})
        self._tell(notice)
        return trial

    def canceled(self, number: int, message: str) -> Trial:
        """A trial that waits will not run."""
        with self._store.write(durable=True) as tx:
            time = timestamp(self._now())
            trials.finish(tx, self._experiment, number, TrialState.USER_CANCELED, time, message=message)
            trial = trials.get(tx, self._experiment, number)
            data = {"trial": number, "state": trial.state, "value": None, "message": message, **_whence(trial)}
            notice = self._event(tx, "trial_ended", data)
        self._tell(notice)
        return trial

    def progress(self, message: str) -> None:
        """A line from a process that prepares or finishes; the last one is what the experiment does now."""
        if phase := message.rpartition("\r")[2].strip():
            with self._store.write() as tx:
                experiments.set_phase(tx, self._experiment, phase[:_LONGEST_PHASE])
        self._tell({"event": "progress", "time": timestamp(self._now()), "message": message})

    def study_started(self) -> None:
        with self._store.write() as tx:
            experiments.set_phase(tx, self._experiment, "studies the model")
            notice = self._event(tx, "study_started", {})
        self._tell(notice)

    def model_made(self, result: JSON, folder: str) -> None:
        """What the search came to, and the folder of the model."""
        with self._store.write(durable=True) as tx:
            models.save_result(tx, self._experiment, result)
            notice = self._event(tx, "model_made", {"trial": result["trial"], "folder": folder})
        self._tell(notice)

    def study_ended(self, lines: Sequence[str]) -> None:
        """What was learned of the model, for a reader: shown, not kept."""
        with self._store.write() as tx:
            experiments.set_phase(tx, self._experiment, "")
        self._tell({"event": "study_ended", "time": timestamp(self._now()), "lines": list(lines)})

    def warning(self, message: str, **data: JSON) -> None:
        with self._store.write() as tx:
            notice = self._event(tx, "warning", {**data, "message": message})
        self._tell(notice)

    def refuse_commands_before(self, time: str) -> None:
        """What was asked of a manager that died before it could. From `time` on there is a new one to ask."""
        for command in self.pending():
            if command.created < time:
                self.answered(command, "the manager it was sent to is gone")

    def pending(self) -> list[Command]:
        with self._store.read() as tx:
            return commands.pending(tx, self._experiment)

    def answered(self, command: Command, answer: str = "") -> None:
        with self._store.write() as tx:
            commands.answer(tx, command.id, timestamp(self._now()), answer)

    def changed(self, command: Command) -> Change | None:
        """Make the change that a command asks for, and answer it, in one; None where it is refused."""
        try:
            with self._store.write(durable=True) as tx:
                time = timestamp(self._now())
                change = make(tx, self._experiment, command.kind, command.data, time)
                commands.answer(tx, command.id, time, trial=change.enqueued.number if change.enqueued else None)
        except StoreError:
            raise
        except UsageError as error:
            self.answered(command, str(error))
            return None
        except Exception as error:
            log.exception("a command failed, and changed nothing; the experiment goes on")
            self.answered(command, f"it failed, and changed nothing: {error!r}")
            return None
        for event in change.events:
            self._tell(event.notice)
        return change

    def _tell(self, notice: Notice) -> None:
        """A listener that fails (its terminal or pipe is closed) is not told again; the experiment goes on."""
        if self._listener is None:
            return
        try:
            self._listener(notice)
        except Exception:
            log.exception("the listener failed and will hear no more; the experiment goes on")
            self._listener = None

    def _event(self, tx: Connection, kind: str, data: dict[str, JSON]) -> Notice:
        return events.add(tx, self._experiment, timestamp(self._now()), kind, data).notice


def _whence(trial: Trial) -> dict[str, JSON]:
    """Where a trial comes from, unless its tuner proposed it."""
    if trial.repeat_of is not None:
        return {"repeat_of": trial.repeat_of}
    return {"origin": trial.origin} if trial.origin else {}
