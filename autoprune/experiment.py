"""An experiment from Python: what `autoprune run`, `stop`, `status`, `trials` and `best` do, as methods.

    experiment = autoprune.Experiment("config.yml")
    print(experiment.run().best)

It holds nothing but its configuration and its id. What it tells comes from the store, so that an experiment which
another process runs, or which ended last week, answers like one that was just run here.
"""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from autoprune.config import Loaded, load, load_plain
from autoprune.errors import AutopruneError, UsageError
from autoprune.manager import ask
from autoprune.manager.launch import check, detach, drive, new_experiment
from autoprune.records import JSON, ExperimentState, TrialState
from autoprune.results import Results
from autoprune.results.models import Best, ExperimentDetail, Importance, Page, ParetoTrial, Report, Trial
from autoprune.results.nni import exported
from autoprune.results.pages import whole
from autoprune.store import Experiment as Stored
from autoprune.store import Store, experiments, find_workspace

T = TypeVar("T")

_POLL_SECONDS = 0.05
_SIGNALLED = 128


class Experiment:
    """One experiment: `Experiment(config)` is a new one, `Experiment.connect(id)` one that exists.

    `config` is the path of an experiment file, or a dict with the same fields. In a dict, relative paths start from
    the current folder. Raises `ConfigError` with everything that is wrong with it.
    """

    def __init__(self, config: str | Path | Mapping[str, JSON], *, workspace: str | Path | None = None) -> None:
        new = load_plain(config) if isinstance(config, Mapping) else load(config)
        for note in new.notes:
            warnings.warn(note, stacklevel=2)
        self._new: Loaded | None = new
        self._place = find_workspace(_path(workspace), new.config.experiment_working_directory)
        self._id: str | None = None
        self._driver: int | None = None

    @classmethod
    def connect(cls, id: str | None = None, *, workspace: str | Path | None = None) -> Self:
        """An experiment of the workspace, wherever it runs or ran: by its id or the beginning of one, or the newest."""
        self = cls.__new__(cls)
        self._new = self._driver = None
        self._place = find_workspace(_path(workspace))
        with closing(self._place.open()) as store, store.read() as tx:
            self._id = experiments.resolve(tx, id)
        return self

    def run(self, on_event: Callable[[dict[str, Any]], None] | None = None) -> ExperimentDetail:
        """Run it to its end in this process, from where it stands; returns its `status` then.

        `on_event` gets what `autoprune run --json` prints, one dict at a time. Ctrl-C ends the trials, leaves
        everything for another `run` or `start` to go on with, and raises KeyboardInterrupt.
        """
        code = 0
        resumed = self._begin()
        with self._opened() as (store, stored):
            if stored.state is not ExperimentState.DONE:
                self._driver = threading.get_ident()
                try:
                    code = drive(stored, self._place, store, on_event or _ignore, resumed).code
                finally:
                    self._driver = None
        if code > _SIGNALLED:
            signal.raise_signal(code - _SIGNALLED)
        return self.status

    def start(self) -> None:
        """Run it in a process of its own, from where it stands, and return once that has begun.

        It runs on when this process ends. `wait` waits for it; `stop` ends it.
        """
        self._begin()
        with self._opened() as (_, stored):
            if stored.state is ExperimentState.DONE:
                return
        with self._place.lock(stored.id):
            pass
        detach(stored, self._place)
        while self._place.locked(stored.id) and self.status.state is not ExperimentState.RUNNING:
            time.sleep(_POLL_SECONDS)

    def resume(self, on_event: Callable[[dict[str, Any]], None] | None = None) -> ExperimentDetail:
        """`run`, for an experiment that has begun; UsageError for one that has not."""
        _ = self.id
        return self.run(on_event)

    def stop(self) -> None:
        """End it, whoever runs it, and wait until all its processes are gone; `run` and `start` go on with it.

        Called from `on_event`, it does not wait: `run` returns soon after.
        """
        with self._opened() as (store, stored):
            if self._driver == threading.get_ident():
                ask.send(store, stored.id, "stop", {})
            else:
                ask.stop(stored, self._place, store)

    def update(self, **limits: JSON) -> None:
        """Change trialConcurrency, maxTrialNumber or maxExperimentDuration (seconds, or such as "2h"). None takes a
        limit away."""
        self._change("update", limits)

    def kill(self, number: int) -> None:
        """End a running trial, with every process it started, as USER_CANCELED."""
        with self._opened() as (store, stored):
            ask.kill(self._place, store, stored.id, number)

    def retry(self, number: int) -> None:
        """Have a trial that ended without success run once more. Where nothing runs the experiment, `run` and `start`
        go on with it."""
        self._change("retry", {"trial": number})

    def enqueue(self, parameters: Mapping[str, JSON]) -> int:
        """Have a trial run with these parameters, next; returns its number. Where nothing runs the experiment, `run`
        and `start` go on with it. Raises ConfigError where they are not of the search space."""
        number = self._change("enqueue", {"parameters": dict(parameters)})
        assert number is not None
        return number

    def wait(self, timeout: float | None = None) -> ExperimentDetail:
        """Until nothing runs it any more; returns its `status` then. Raises TimeoutError after `timeout` seconds."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while self._place.locked(self.id):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"experiment {self.id} still runs after {timeout:g} seconds")
            time.sleep(_POLL_SECONDS)
        return self.status

    @property
    def id(self) -> str:
        if self._id is None:
            raise UsageError("this experiment has not begun, so it has no id and no results; call run() or start()")
        return self._id

    @property
    def folder(self) -> Path:
        """Where the files of its trials are."""
        return self._place.folder(self.id)

    @property
    def status(self) -> ExperimentDetail:
        """Where it stands, as `autoprune status --json`: `state`, `message`, `trials` by state, `best` and more."""
        return self._ask(Results.experiment)

    def trials(
        self, *, states: Collection[TrialState | str] = (), sort: str = "number", limit: int | None = None
    ) -> list[Trial]:
        """Its trials, as `autoprune trials --json`. `sort` is `number`, `value` or `started`; with a `-` before it,
        from the largest down."""
        chosen = [_state(state) for state in states]
        with self._opened() as (store, stored):
            results = Results(self._place, store)

            def page(size: int, cursor: str | None) -> Page[Trial]:
                return results.trials(stored.id, states=chosen, sort=sort, limit=size, cursor=cursor)

            return whole(page, limit=limit).items

    def best(self) -> Best | None:
        """The best trial, as `autoprune best --json`; None where none has succeeded and keeps to all constraints."""
        return self.status.best

    def importance(self) -> list[Importance]:
        """How much each parameter matters, the most important first; empty while nothing can be said."""
        return self._ask(Results.importance)

    def pareto(self) -> list[ParetoTrial]:
        """The trials that no other beats in everything that is optimised, those of the best value first."""
        return self._ask(Results.pareto).items

    def curves(self, numbers: Collection[int] | None = None) -> dict[int, list[Report]]:
        """What the last attempt of each of these trials reported, in order; by default of the newest 100 that started.
        Trials without a report are left out."""
        return self._ask(lambda results, id: results.curves(id, numbers))

    def facts(self) -> dict[str, JSON] | None:
        """What is known of the model of a task: `dense`, `cost`, `groups`, `curves` and more; None where there is
        none."""
        return self._ask(Results.facts)

    def result(self) -> dict[str, JSON] | None:
        """What the search of a task came to; None before its end."""
        return self._ask(Results.result)

    def export_data(self) -> list[dict[str, JSON]]:
        """Every succeeded trial as `{"parameter", "value", "id"}`, NNI's shape, which `autoprune import` reads.

        `value` is what the trial reported: a number, or a dict with `default`.
        """
        return exported(self.trials(states=[TrialState.SUCCEEDED]))

    def __repr__(self) -> str:
        if self._id is None:
            assert self._new is not None
            return f"<Experiment {self._new.config.experiment_name!r}, not begun>"
        try:
            status = self.status
        except AutopruneError:
            return f"<Experiment {self._id}, whose results cannot be read>"
        best = f", best {status.best.value:g} of trial {status.best.number}" if status.best else ""
        return f"<Experiment {status.id}: {status.state}, {sum(status.trials.values())} trials{best}>"

    def _begin(self) -> bool:
        """Write a new experiment into the store; returns whether it was there before."""
        if self._id is not None:
            return True
        assert self._new is not None
        check(self._new.config)
        with closing(self._place.create()) as store:
            self._id = new_experiment(self._new.config, self._new.source, self._place, store).id
        return False

    def _ask(self, question: Callable[[Results, str], T]) -> T:
        with self._opened() as (store, stored):
            return question(Results(self._place, store), stored.id)

    def _change(self, kind: str, data: JSON) -> int | None:
        """Returns the number of the trial that was made, where it is about one."""
        with self._opened() as (store, stored):
            return ask.change(self._place, store, stored.id, kind, data)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Store, Stored]]:
        """The store and the experiment in it, for one question: nothing stays open between two, and every thread may
        ask."""
        id = self.id
        with closing(self._place.open()) as store:
            with store.read() as tx:
                stored = experiments.get(tx, id)
            yield store, stored


def _path(workspace: str | Path | None) -> Path | None:
    return None if workspace is None else Path(workspace)


def _ignore(event: dict[str, Any]) -> None:
    """Nobody listens."""


def _state(name: TrialState | str) -> TrialState:
    try:
        return TrialState(name)
    except ValueError:
        raise UsageError(f"given the state {name!r}; expected one of {', '.join(TrialState)}") from None
