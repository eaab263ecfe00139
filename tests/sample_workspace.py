"""An experiment that tests write by hand, for all rooms that read one."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.records import Exit, ExperimentState, Metric, Parameters, Trial, TrialState
from autoprune.store import Experiment, Store, Workspace, experiments, metrics, trials

SAMPLE_ID = "digits-300131-abcd"


def clock(second: int) -> str:
    return f"2030-01-31T12:00:{second:02}.000Z"


@dataclass(frozen=True)
class Sample:
    """An experiment in a store; its methods add to it."""

    workspace: Workspace
    store: Store
    id: str = SAMPLE_ID

    def create(self, id: str = SAMPLE_ID, created: str = clock(0), mode: str | None = None) -> None:
        arguments = {} if mode is None else {"optimize_mode": mode}
        config = {
            "experimentName": "digits",
            "trialConcurrency": 2,
            "maxTrialNumber": 9,
            "maxExperimentDuration": 3600.0,
            "tuner": {"name": "TPE", "classArgs": arguments},
        }
        with self.store.write() as tx:
            experiments.create(tx, Experiment(id, "digits", config, 7, ExperimentState.RUNNING, created))
        self.workspace.folder(id).mkdir()

    def add(
        self, number: int, parameters: Parameters | None = None, origin: str = "", repeat_of: int | None = None
    ) -> None:
        given = {"lr": 0.1 * number} if parameters is None else parameters
        trial = Trial(number, TrialState.WAITING, given, created=clock(number), origin=origin, repeat_of=repeat_of)
        with self.store.write() as tx:
            trials.create(tx, self.id, trial)

    def start(self, number: int, attempt: int = 0) -> None:
        with self.store.write() as tx:
            trials.start(tx, self.id, number, attempt, clock(number + 1))

    def report(self, number: int, seq: int, value: float | None, final: bool = False, attempt: int = 0) -> None:
        values = {"default": "NaN" if value is None else value}
        metric = Metric(attempt, seq, final, value, values, clock(number + 2))
        with self.store.write() as tx:
            metrics.add(tx, self.id, number, [metric])

    def finish(
        self,
        number: int,
        state: TrialState,
        value: float | None = None,
        message: str = "",
        attempt: int = 0,
        values: Parameters | None = None,
        feasible: bool = True,
    ) -> None:
        ended = clock(number + 5)
        given = values if values is not None else {} if value is None else {"default": value, "sparsity": 0.8}
        with self.store.write(durable=True) as tx:
            trials.end_attempt(tx, self.id, number, attempt, ended, Exit(1 if state is TrialState.FAILED else 0))
            trials.finish(
                tx, self.id, number, state, ended, value=value, metrics=given, message=message, feasible=feasible
            )

    def succeed(
        self,
        number: int,
        value: float,
        parameters: Parameters | None = None,
        origin: str = "",
        repeat_of: int | None = None,
        feasible: bool = True,
    ) -> None:
        self.add(number, parameters, origin, repeat_of)
        self.start(number)
        self.report(number, 0, value / 2)
        self.report(number, 1, value, final=True)
        self.finish(number, TrialState.SUCCEEDED, value, feasible=feasible)

    def end(self, state: ExperimentState = ExperimentState.DONE, message: str = "") -> None:
        with self.store.write() as tx:
            experiments.set_state(tx, self.id, state, clock(59), message)
