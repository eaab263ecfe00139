"""An experiment as an Optuna database (SQLite), for optuna-dashboard and Optuna's own plots and importances.

Trials keep their numbers. A parameter is named by its path in the search space, a choice's options by their labels.
What Optuna has no place for (the nested parameters, the whole report, our state and message) is in the trials'
user attributes. The database is written by Optuna itself, whose format it is: 9 ms a trial, and .5 ms a parameter.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from autoprune.errors import ConfigError
from autoprune.records import OptimizeMode, Trial, TrialState, seconds
from autoprune.results.export import whence
from autoprune.results.leaders import objective_values, objectives
from autoprune.results.models import clean
from autoprune.results.reader import Results
from autoprune.search_space import Choice, Dimension, Normal, RandInt, Space, flatten, space_from_plain
from autoprune.store import experiments, metrics, trials

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_STATES: Mapping[TrialState, str] = {
    TrialState.SUCCEEDED: "COMPLETE",
    TrialState.EARLY_STOPPED: "PRUNED",
    TrialState.FAILED: "FAIL",
    TrialState.INVALID: "FAIL",
    TrialState.USER_CANCELED: "FAIL",
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "WAITING",
}
_INFEASIBLE: Mapping[str, Any] = {"constraints": [1.0]}
"""What Optuna's own samplers note of a trial that breaks a constraint."""
_MANY_STEPS = 10**6
"""Optuna counts steps in floats, which is exact enough up to here."""


def write_optuna(results: Results, id: str | None, path: Path) -> None:
    """A new database at `path` with one study, which is named after the experiment."""
    with results.store.read() as tx:
        experiment = experiments.get(tx, experiments.resolve(tx, id))
        every = trials.all(tx, experiment.id)
        curves = metrics.intermediates(tx, experiment.id)
    modes = objectives(experiment.config)
    writer = _Writer(space_from_plain(experiment.config["searchSpace"], experiment.id), modes)
    with _new_study(path, experiment.id, modes) as study:
        study.set_user_attr("experiment", clean(experiment.config))
        study.add_trials(writer.trial(trial, curves.get((trial.number, trial.attempts - 1), [])) for trial in every)


@contextmanager
def _new_study(path: Path, name: str, modes: Mapping[str, OptimizeMode]) -> Iterator[Study]:
    """A study in a database of its own, closed at the end; Optuna's word that it made one goes nowhere."""
    import optuna

    directions = [optuna.study.StudyDirection[mode.name] for mode in modes.values()]
    url = URL.create("sqlite", database=str(path)).render_as_string()
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"creator": lambda: _hasty(path)})
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
        if len(modes) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(modes))
        yield study
    finally:
        optuna.logging.set_verbosity(said)
        storage.engine.dispose()


def _hasty(path: Path) -> sqlite3.Connection:
    """A connection that never waits for the disk: a database that is not finished is of no use."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY")
    return connection


class _Writer:
    """Turns trials of one search space into Optuna's."""

    def __init__(self, space: Space, modes: Mapping[str, OptimizeMode]) -> None:
        self._space = space
        self._dimensions = dict(space.dimensions())
        self._distributions = {path: distribution(dimension) for path, dimension in self._dimensions.items()}
        self._names = list(modes)

    def trial(self, trial: Trial, curve: list[float]) -> FrozenTrial:
        from optuna.trial import FrozenTrial
        from optuna.trial import TrialState as State

        values = objective_values(trial, self._names)
        state = State[_STATES[trial.state]]
        if state is State.COMPLETE and values is None:
            state = State.FAIL
        parameters = self._parameters(trial)
        started = None if state is State.WAITING else trial.started or trial.ended
        return FrozenTrial(
            number=trial.number,
            trial_id=-1,
            state=state,
            value=None,
            values=list(values.values()) if values is not None and state is State.COMPLETE else None,
            datetime_start=_local(started),
            datetime_complete=_local(trial.ended) if state.is_finished() else None,
            params=parameters,
            distributions={path: self._holding(path, value) for path, value in parameters.items()},
            user_attrs=_attributes(trial),
            system_attrs={} if trial.feasible else dict(_INFEASIBLE),
            intermediate_values=dict(enumerate(curve)),
        )

    def _parameters(self, trial: Trial) -> dict[str, Any]:
        """By path, as people read them; none where they are not of the space."""
        try:
            flat = flatten(self._space, trial.parameters)
        except ConfigError:
            return {}
        return {path: self._readable(path, value) for path, value in flat.items()}

    def _readable(self, path: str, value: float) -> Any:
        dimension = self._dimensions[path]
        return labels(dimension)[int(value)] if isinstance(dimension, Choice) else value

    def _holding(self, path: str, value: Any) -> BaseDistribution:
        """The parameter's distribution; wider for a normal value further out than any that is ever drawn."""
        dimension = self._dimensions[path]
        return distribution(dimension, value) if isinstance(dimension, Normal) else self._distributions[path]


def distribution(dimension: Dimension, value: float | None = None) -> BaseDistribution:
    """A dimension as Optuna has it, with `value` inside its bounds.

    A logarithm or a step is kept where Optuna's means the same values as ours. Normal types are given the bounds
    between which all their draws lie.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(labels(dimension))
    if isinstance(dimension, RandInt):
        return IntDistribution(dimension.low, dimension.high - 1)
    low, high = dimension.low, dimension.high
    if isinstance(dimension, Normal):
        drawn = [dimension.from_unit(0.0), dimension.from_unit(1.0), *([] if value is None else [value])]
        low, high = min(drawn), max(drawn)
    log = dimension.log and low > 0
    step = dimension.q if dimension.q is not None and not log and _counts_from(low, high, dimension.q) else None
    return FloatDistribution(low, high, log=log, step=step)


def labels(choice: Choice) -> list[str]:
    """What to call the options, each differently."""
    names = [choice.label(index) for index in range(len(choice.options))]
    return [f"{name} #{index}" if names.count(name) > 1 else name for index, name in enumerate(names)]


def _counts_from(low: float, high: float, q: float) -> bool:
    """Whether the multiples of `q` from `low` to `high` are `low` and whole steps above it: so Optuna counts them."""
    first, last, step = (Decimal(repr(float(number))) for number in (low, high, q))
    return (last - first) / step < _MANY_STEPS and first % step == 0 and last % step == 0


def _attributes(trial: Trial) -> dict[str, Any]:
    told = {"state": str(trial.state), "parameters": clean(trial.parameters), "metrics": clean(trial.metrics)}
    if trial.message:
        told["message"] = clean(trial.message)
    return told | whence(trial)


def _local(stamp: str | None) -> datetime | None:
    """Local time without a zone, as Optuna's own trials have it."""
    return None if stamp is None else datetime.fromtimestamp(seconds(stamp))
