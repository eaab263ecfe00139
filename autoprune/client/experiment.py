"""One experiment of a server: the methods of `autoprune.Experiment`, by HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping

import httpx

from autoprune.client.connection import Connection
from autoprune.client.stream import read_events
from autoprune.errors import AutopruneError, ConflictError, NotFoundError, UsageError
from autoprune.records import JSON, ExperimentState, TrialState
from autoprune.results.models import (
    Best,
    Command,
    ExperimentDetail,
    Importance,
    Page,
    ParetoTrial,
    Report,
    TaskModel,
    Trial,
)
from autoprune.results.nni import exported
from autoprune.results.reader import NEWEST

_PATIENCE = 60.0
_POLL_SECONDS = 0.05
_WAIT_SECONDS = 0.25
_HEARTBEATS = 60.0


class RemoteExperiment:
    """One experiment. It holds nothing but its id: whatever it tells is asked of the server."""

    def __init__(self, connection: Connection, id: str) -> None:
        self._connection = connection
        self._id = id
        self._path = f"/experiments/{id}"

    @property
    def id(self) -> str:
        return self._id

    @property
    def status(self) -> ExperimentDetail:
        """Where it stands, as `autoprune status --json`."""
        return self._connection.get(ExperimentDetail, self._path)

    def trials(
        self, *, states: Collection[TrialState | str] = (), sort: str = "number", limit: int | None = None
    ) -> list[Trial]:
        """Its trials, as `autoprune trials --json`."""
        chosen = [str(state) for state in states]
        return self._connection.all(Trial, f"{self._path}/trials", limit, state=chosen, sort=sort)

    def best(self) -> Best | None:
        """The best trial; None where none has succeeded and keeps to all constraints."""
        return self.status.best

    def importance(self) -> list[Importance]:
        """How much each parameter matters, the most important first; empty while nothing can be said."""
        return self._connection.get(Page[Importance], f"{self._path}/importance").items

    def pareto(self) -> list[ParetoTrial]:
        """The trials that no other beats in everything that is optimised, those of the best value first."""
        return self._connection.get(Page[ParetoTrial], f"{self._path}/pareto").items

    def curves(self, numbers: Collection[int] | None = None) -> dict[int, list[Report]]:
        """What the last attempt of each of these trials reported, in order; by default of the newest 100 that started.
        Trials without a report are left out."""
        begun = [trial for trial in self.trials() if trial.attempts]
        chosen = begun[-NEWEST:] if numbers is None else [trial for trial in begun if trial.number in numbers]
        found = {trial.number: self._reports(trial) for trial in chosen}
        return {number: reports for number, reports in found.items() if reports}

    def facts(self) -> dict[str, JSON] | None:
        """What is known of the model of a task: `dense`, `cost`, `groups`, `curves` and more; None where there is
        none."""
        model = self._model()
        return None if model is None else model.facts

    def result(self) -> dict[str, JSON] | None:
        """What the search of a task came to; None before its end."""
        model = self._model()
        return None if model is None else model.result

    def export_data(self) -> list[dict[str, JSON]]:
        """Every succeeded trial as `{"parameter", "value", "id"}`, NNI's shape, which `autoprune import` reads."""
        return exported(self.trials(states=[TrialState.SUCCEEDED]))

    def stop(self) -> None:
        """End it, and wait until it has ended; where nothing runs it, there is nothing to do.

        Raises ConflictError where its manager has died and may have left trials running: the server ends no processes.
        """
        try:
            self._command("POST", "stop")
        except ConflictError:
            if self.status.state is ExperimentState.INTERRUPTED:
                raise
        self.wait(_PATIENCE)

    def wait(self, timeout: float | None = None) -> ExperimentDetail:
        """Until nothing runs it any more; returns its `status` then. Raises TimeoutError after `timeout` seconds."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while (status := self.status).state is ExperimentState.RUNNING:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"experiment {self.id} still runs after {timeout:g} seconds")
            time.sleep(_WAIT_SECONDS)
        return status

    def update(self, **limits: JSON) -> None:
        """Change trialConcurrency, maxTrialNumber or maxExperimentDuration (seconds, or such as "2h"). None takes a
        limit away."""
        self._command("PATCH", "limits", limits)

    def kill(self, number: int) -> None:
        """End a trial, with every process it started, as USER_CANCELED."""
        self._command("POST", f"trials/{number}/kill")

    def retry(self, number: int) -> None:
        """Have a trial that ended without success run once more."""
        self._command("POST", f"trials/{number}/retry")

    def enqueue(self, parameters: Mapping[str, JSON]) -> int:
        """Have a trial run with these parameters, next; returns its number."""
        number = self._command("POST", "trials", {"parameters": dict(parameters)}).trial
        assert number is not None
        return number

    def log(self, number: int, stream: str = "stdout", *, attempt: int | None = None, tail: int | None = None) -> str:
        """What a trial wrote to `stdout` or `stderr` in its last or another attempt: the last `tail` lines, or all."""
        path = f"{self._path}/trials/{number}/logs/{stream}"
        query = {name: value for name, value in {"attempt": attempt, "tail": tail}.items() if value is not None}
        answer = self._connection.send("GET", path, params=query)
        text = answer.content
        while tail is None and int(answer.headers["Log-End"]) < int(answer.headers["Log-Size"]):
            onward = {"Range": f"bytes={answer.headers['Log-End']}-"}
            answer = self._connection.send("GET", path, params=query, headers=onward)
            text += answer.content
        return text.decode(errors="replace")

    def events(self, after: int | None = None) -> Iterator[dict[str, JSON]]:
        """What happens from now on, or behind the event of an id: each as `autoprune run --json` prints it, with `id`.

        It does not end by itself. Where the stream is cut it goes on with what followed the last event that has an id;
        raises an error where the server is gone.
        """
        told = self._events(after)
        next(told)
        return told

    def _events(self, after: int | None) -> Iterator[dict[str, JSON]]:
        """The same, behind an empty one, which comes once it listens."""
        timeout = httpx.Timeout(_PATIENCE, read=_HEARTBEATS)
        listening = False
        while True:
            headers = {} if after is None else {"Last-Event-ID": str(after)}
            with self._connection.stream("GET", f"{self._path}/events", headers=headers, timeout=timeout) as answer:
                try:
                    for event in read_events(answer.iter_lines()):
                        after = after if event["id"] is None else event["id"]
                        if "event" in event:
                            yield event
                        elif not listening:
                            listening = True
                            yield {}
                except httpx.TransportError:
                    continue

    def __repr__(self) -> str:
        return f"<Experiment {self.id} of {self._connection.url}>"

    def _reports(self, trial: Trial) -> list[Report]:
        every = self._connection.all(Report, f"{self._path}/trials/{trial.number}/metrics")
        return [report for report in every if report.attempt == trial.attempts - 1]

    def _model(self) -> TaskModel | None:
        """None of an experiment that is there, but has none."""
        try:
            return self._connection.get(TaskModel, f"{self._path}/model")
        except NotFoundError:
            _ = self.status
            return None

    def _command(self, method: str, path: str, body: Mapping[str, JSON] | None = None) -> Command:
        """Have a command done by the manager; a refusal is an error."""
        options = {} if body is None else {"json": dict(body)}
        command = self._connection.ask(Command, method, f"{self._path}/{path}", **options)
        deadline = time.monotonic() + _PATIENCE
        while command.state == "pending":
            if time.monotonic() > deadline:
                raise AutopruneError(
                    f"the manager of {self.id} has not answered for {_PATIENCE:g} seconds; it may still {command.kind}"
                )
            time.sleep(_POLL_SECONDS)
            command = self._connection.get(Command, f"{self._path}/commands/{command.id}")
        if command.state == "refused":
            raise UsageError(command.answer)
        return command
