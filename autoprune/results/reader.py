"""The questions people ask of a workspace, each answered from one consistent view of the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

from sqlalchemy import Connection

from autoprune import records
from autoprune.errors import NotFoundError, UsageError
from autoprune.pareto import fronts
from autoprune.protocol import DEFAULT
from autoprune.records import ExperimentState, OptimizeMode, TrialState
from autoprune.results import cursor as cursors
from autoprune.results.models import (
    Attempt,
    Best,
    Experiment,
    ExperimentDetail,
    Limits,
    Page,
    ParetoTrial,
    Report,
    Trial,
    TrialDetail,
)
from autoprune.search_space.leaves import is_number
from autoprune.standings import Standing, noise, standings
from autoprune.store import Experiment as StoredExperiment
from autoprune.store import Store, Workspace, experiments, metrics, trials

MAX_PAGE = 1000
_CURSOR_TYPES: Mapping[str, Sequence[type]] = {
    "number": [int],
    "value": [float, type(None)],
    "started": [str, type(None)],
}


class NoBestError(NotFoundError):
    """No trial has succeeded, or none that succeeded is feasible, so none is the best."""


@dataclass(frozen=True)
class Results:
    """Reads the experiments of a workspace. An id may be a unique prefix; None is the newest experiment."""

    workspace: Workspace
    store: Store

    def check(self) -> None:
        """Raises where the store cannot be read."""
        with self.store.read() as tx:
            experiments.page(tx, limit=1)

    def resolve(self, id: str | None = None) -> str:
        """The whole id."""
        with self.store.read() as tx:
            return experiments.resolve(tx, id)

    def experiments(self, *, limit: int = MAX_PAGE, cursor: str | None = None) -> Page[Experiment]:
        """Newest first."""
        _check_limit(limit)
        place = cursors.decode(cursor, "experiments", [str], [str]) if cursor else None
        after = (place[0], place[1]) if place else None
        with self.store.read() as tx:
            found = experiments.page(tx, limit=limit + 1, after=after)
            items = [_experiment(tx, stored) for stored in found[:limit]]
        last = found[limit - 1] if len(found) > limit else None
        following = cursors.encode("experiments", last.created, last.id) if last else None
        return Page[Experiment](items=[self._seen(item) for item in items], next=following)

    def experiment(self, id: str | None = None) -> ExperimentDetail:
        with self.store.read() as tx:
            stored = experiments.get(tx, experiments.resolve(tx, id))
            short = _experiment(tx, stored)
        short = self._seen(short)
        return ExperimentDetail(**dict(short), seed=stored.seed, config=stored.config)

    def trials(
        self,
        id: str | None = None,
        *,
        states: Collection[TrialState] = (),
        sort: str = "number",
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> Page[Trial]:
        """Sorted by `number`, `value` or `started`; with a `-` before it, from the largest down."""
        _check_limit(limit)
        column, descending = _parse_sort(sort)
        position = _position(cursor, sort, column)
        with self.store.read() as tx:
            found = trials.page(
                tx,
                experiments.resolve(tx, id),
                limit=limit + 1,
                states=states,
                sort=column,
                descending=descending,
                after=position,
            )
        last = found[limit - 1] if len(found) > limit else None
        following = cursors.encode(f"trials {sort}", getattr(last, column), last.number) if last else None
        return Page[Trial](items=[trial_model(trial) for trial in found[:limit]], next=following)

    def trial(self, id: str | None, number: int) -> TrialDetail:
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            trial = trials.get(tx, experiment, number)
            attempts = trials.attempts(tx, experiment, number)
        runs = [Attempt(**{name: getattr(attempt, name) for name in Attempt.model_fields}) for attempt in attempts]
        return TrialDetail(
            **_common(trial), created=trial.created, duration=elapsed(trial.started, trial.ended), runs=runs
        )

    def reports(self, id: str | None, number: int, *, limit: int = MAX_PAGE, cursor: str | None = None) -> Page[Report]:
        """All that a trial reported, of all its attempts, in order."""
        _check_limit(limit)
        place = cursors.decode(cursor, "metrics", [int], [int]) if cursor else None
        after = (place[0], place[1]) if place else None
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            trials.get(tx, experiment, number)
            found = metrics.page(tx, experiment, number, limit=limit + 1, after=after)
        last = found[limit - 1] if len(found) > limit else None
        following = cursors.encode("metrics", last.attempt, last.seq) if last else None
        return Page[Report](items=[report_model(metric) for metric in found[:limit]], next=following)

    def best(self, id: str | None = None) -> Best:
        """The repeated trial of the best mean, else the trial of the best value; of equal ones, the first.

        Only trials that succeeded and break no constraint count (see `autoprune.standings`).
        """
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            found = _best(tx, experiment)
            succeeded = trials.counts(tx, experiment.id).get(TrialState.SUCCEEDED, 0)
        if found is None:
            raise NoBestError(no_best(experiment.id, succeeded))
        return found

    def top(self, id: str | None = None, *, count: int) -> Page[Best]:
        """The first `count` of all that may be the best, the best first."""
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            return Page[Best](items=_best_models(tx, experiment, _standings(tx, experiment, count)))

    def pareto(self, id: str | None = None) -> Page[ParetoTrial]:
        """The succeeded trials that no other beats in everything that is optimised, those of the best value first.

        With one number to optimise these are the best trials. Left out are trials that lack a number or break a
        constraint, and repeats.
        """
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            succeeded = trials.all(tx, experiment.id, [TrialState.SUCCEEDED])
        modes = objectives(experiment.config)
        own = [trial for trial in succeeded if trial.feasible and trial.repeat_of is None]
        found = [(trial, values) for trial in own if (values := objective_values(trial, list(modes)))]
        losses = [
            [-values[name] if mode is OptimizeMode.MAXIMIZE else values[name] for name, mode in modes.items()]
            for _, values in found
        ]
        items = [
            ParetoTrial(**_common(found[place][0]), objectives=found[place][1])
            for front in fronts(losses, 1)
            for place in sorted(front, key=lambda place: (losses[place], place))
        ]
        return Page[ParetoTrial](items=items)

    def best_so_far(self, id: str | None = None) -> list[float]:
        """The best value after each success, in the order in which trials finished."""
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            return best_so_far(tx, experiment)

    def _seen(self, experiment: Experiment) -> Experiment:
        """With INTERRUPTED in place of RUNNING where no manager runs it.

        A manager writes how its experiment ended before it lets go of the lock; so where the lock is free the state
        is read once more, lest an experiment that ended this moment be called interrupted.
        """
        if experiment.state is not ExperimentState.RUNNING or self.workspace.locked(experiment.id):
            return experiment
        with self.store.read() as tx:
            again = _experiment(tx, experiments.get(tx, experiment.id))
        if again.state is not ExperimentState.RUNNING:
            return again
        return again.model_copy(update={"state": ExperimentState.INTERRUPTED})


def best(store: Store, experiment: str) -> records.Trial | None:
    """The best trial, as a record; None where none has succeeded and is feasible."""
    with store.read() as tx:
        found = _standings(tx, experiments.get(tx, experiment), 1)
    return found[0].trial if found else None


def best_so_far(tx: Connection, experiment: StoredExperiment) -> list[float]:
    """The best value after each feasible success, in the order in which trials finished."""
    better = max if optimize_mode(experiment) is OptimizeMode.MAXIMIZE else min
    return list(accumulate(trials.successes(tx, experiment.id), better))


def no_best(experiment: str, succeeded: int) -> str:
    """Why there is no best trial."""
    if succeeded:
        return f"no trial of {experiment} keeps to all constraints, so there is no best one yet"
    return f"no trial of {experiment} has succeeded, so there is no best one yet"


def trial_model(trial: records.Trial) -> Trial:
    return Trial(**_common(trial))


def report_model(metric: records.Metric) -> Report:
    return Report(**{field.name: getattr(metric, field.name) for field in fields(metric)})


def elapsed(started: str | None, ended: str | None) -> float | None:
    """Seconds from one time to another, None where one is missing."""
    if started is None or ended is None:
        return None
    return round(records.seconds(ended) - records.seconds(started), 3)


def came_from(trial: records.Trial | Trial) -> str:
    """Where a trial comes from, in words; empty where the tuner proposed it."""
    return trial.origin if trial.repeat_of is None else f"repeat of {trial.repeat_of}"


def optimize_mode(experiment: StoredExperiment) -> OptimizeMode:
    return objectives(experiment.config)[DEFAULT]


def objectives(config: records.JSON) -> dict[str, OptimizeMode]:
    """All that a stored configuration has optimised, and which way; the default metric first.

    A tuner class of the user's own may mean something else by `objectives`; that is left alone.
    """
    arguments = config.get("tuner", {}).get("classArgs", {})
    default = OptimizeMode(arguments.get("optimize_mode") or OptimizeMode.MAXIMIZE)
    others = arguments.get("objectives")
    if not isinstance(others, Mapping) or not all(mode in list(OptimizeMode) for mode in others.values()):
        return {DEFAULT: default}
    return {DEFAULT: default, **{str(name): OptimizeMode(mode) for name, mode in others.items()}}


def objective_values(trial: records.Trial, names: Sequence[str]) -> dict[str, float] | None:
    """What is optimised, as the trial reported it; None where it lacks a number."""
    given = {**trial.metrics, DEFAULT: trial.value}
    values = {name: float(given[name]) for name in names if is_number(given.get(name))}
    return values if len(values) == len(names) else None


def _common(trial: records.Trial) -> dict[str, records.JSON]:
    return {name: getattr(trial, name) for name in Trial.model_fields}


def _experiment(tx: Connection, stored: StoredExperiment) -> Experiment:
    return Experiment(
        id=stored.id,
        name=stored.name,
        state=stored.state,
        created=stored.created,
        ended=stored.ended,
        duration=round(stored.active_seconds, 3),
        message=stored.message,
        trials=trials.counts(tx, stored.id),
        optimize_mode=optimize_mode(stored),
        best=_best(tx, stored),
        limits=Limits(**{name: stored.config.get(name) for name in Limits.model_fields}),
    )


def _best(tx: Connection, experiment: StoredExperiment) -> Best | None:
    found = _standings(tx, experiment, 1)
    return _best_models(tx, experiment, found)[0] if found else None


def _standings(tx: Connection, experiment: StoredExperiment, limit: int) -> list[Standing]:
    """The first so many. Only where trials were repeated are all of them read."""
    highest = optimize_mode(experiment) is OptimizeMode.MAXIMIZE
    if trials.repeats(tx, experiment.id):
        return standings(trials.all(tx, experiment.id), highest=highest)[:limit]
    return standings(trials.best(tx, experiment.id, highest=highest, limit=limit), highest=highest)


def _best_models(tx: Connection, experiment: StoredExperiment, found: Sequence[Standing]) -> list[Best]:
    spread = noise(trials.repeats(tx, experiment.id)) if any(one.repeats for one in found) else None
    return [Best(**_common(one.trial), mean=one.mean, repeats=len(one.repeats), noise=spread) for one in found]


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise UsageError(f"given the limit {limit}; expected 1 to {MAX_PAGE}")


def _parse_sort(sort: str) -> tuple[trials.Sort, bool]:
    match sort.removeprefix("-"):
        case ("number" | "value" | "started") as column:
            return column, sort.startswith("-")
        case _:
            raise UsageError(f"given the sort {sort[:40]!r}; expected number, value or started, or -value and so on")


def _position(cursor: str | None, sort: str, column: trials.Sort) -> trials.Position | None:
    if not cursor:
        return None
    value, number = cursors.decode(cursor, f"trials {sort}", _CURSOR_TYPES[column], [int])
    return trials.Position(value, number)
