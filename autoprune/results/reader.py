"""The questions people ask of a workspace, each answered from one consistent view of the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Connection

from autoprune.errors import NotFoundError, UsageError
from autoprune.records import JSON, ExperimentState, TrialState
from autoprune.results import cursor as cursors
from autoprune.results.importance import importances, sample
from autoprune.results.layers import cost_of, layers_of
from autoprune.results.leaders import (
    NoBestError,
    best_so_far,
    leaders,
    no_best,
    optimize_mode,
    pareto_front,
)
from autoprune.results.logs import Log, Stream
from autoprune.results.models import (
    Attempt,
    Best,
    Experiment,
    ExperimentDetail,
    Importance,
    Limits,
    Page,
    ParetoTrial,
    Report,
    Statistics,
    Trial,
    TrialDetail,
    clean,
)
from autoprune.results.ordering import cursor_of, order_of, position_of
from autoprune.results.shapes import attempt_model, common, outline_model, report_model, trial_model
from autoprune.results.statistics import statistics_of
from autoprune.store import Experiment as StoredExperiment
from autoprune.store import Store, Workspace, experiments, listing, metrics, models, trials

MAX_PAGE = 1000
NEWEST = 100
"""Trials whose curves are shown, unless some are named."""


@dataclass(frozen=True)
class Tail:
    """How many reports there are, and the last of them."""

    count: int
    reports: list[Report]


@dataclass(frozen=True)
class Results:
    """Reads the experiments of a workspace. An id may be a unique prefix; None is the newest experiment."""

    workspace: Workspace
    store: Store
    _weighing: Lock = field(default_factory=Lock, repr=False, compare=False)
    """Importance takes seconds: one at a time works it out, and it stands until there are other results."""
    _weighed: dict[str, tuple[list[tuple[int, float | None]], list[Importance]]] = field(
        default_factory=dict, repr=False, compare=False
    )

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
        feasible: bool | None = None,
        origin: str | None = None,
        sort: str = "number",
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> Page[Trial]:
        """Sorted by `number`, `value`, `started`, `ended`, `duration` or `metric:PATH`; with a `-` before it, from the
        largest down. `origin` names a starting point; empty, it means the trials that the tuner proposed."""
        _check_limit(limit)
        order = order_of(sort)
        after = position_of(cursor, sort, order)
        only = listing.Filter(states, feasible, origin)
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            found = listing.page(tx, experiment, limit=limit + 1, order=order, only=only, after=after)
        following = cursor_of(found[limit - 1].position, sort) if len(found) > limit else None
        return Page[Trial](items=[trial_model(one.trial) for one in found[:limit]], next=following)

    def all_trials(self, id: str | None = None) -> list[Trial]:
        """All trials in the order of their numbers, in one read."""
        with self.store.read() as tx:
            found = trials.all(tx, experiments.resolve(tx, id))
        return [trial_model(trial) for trial in found]

    def outlines(self, id: str | None = None, metric: str | None = None) -> list[Trial]:
        """All trials in the order of their numbers, without their parameters, and with one number of their reports at
        the most: so thousands are read in a moment."""
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            found = trials.outlines(tx, experiment)
            told = {} if metric is None else listing.values(tx, experiment, listing.Metric((metric,)))
        return [outline_model(trial, {metric: told[trial.number]} if metric else {}) for trial in found]

    def sample_trials(self, id: str | None = None, *, most: int) -> list[Trial]:
        """At most so many of the trials that succeeded and are feasible, whole, at even distances; and the best one."""
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            outlines = trials.outlines(tx, experiment.id)
            own = [trial.number for trial in outlines if trial.state is TrialState.SUCCEEDED and trial.feasible]
            step = max(1, -(-len(own) // most))
            numbers = {*own[::step], *(best.number for best in leaders(tx, experiment, 1))}
            found = trials.some(tx, experiment.id, numbers)
        return [trial_model(found[number]) for number in sorted(found)]

    def trial(self, id: str | None, number: int) -> TrialDetail:
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            trial = trials.get(tx, experiment, number)
            attempts = trials.attempts(tx, experiment, number)
        return TrialDetail(
            **common(trial),
            created=trial.created,
            runs=[attempt_model(attempt) for attempt in attempts],
            cost=cost_of(trial.metrics),
            layers=layers_of(trial.metrics),
        )

    def retried(self, id: str | None = None) -> dict[int, list[Attempt]]:
        """The attempts of all trials that were started more than once or wait for it, by their numbers."""
        with self.store.read() as tx:
            found = trials.retried(tx, experiments.resolve(tx, id))
        return {number: [attempt_model(attempt) for attempt in attempts] for number, attempts in found.items()}

    def since(self, id: str | None, running: Iterable[Trial]) -> dict[int, str]:
        """From when on these trials would have run until now had they not waited between their attempts: what has
        passed since then is what `duration` will tell in the end."""
        numbers = [trial.number for trial in running]
        with self.store.read() as tx:
            return trials.since(tx, experiments.resolve(tx, id), numbers)

    def log(self, id: str | None, number: int, stream: Stream, attempt: int | None = None) -> Log:
        """What a trial wrote, in its last attempt unless another is given; to be read in pieces."""
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            trials.get(tx, experiment, number)
            attempts = trials.attempts(tx, experiment, number)
        if not attempts:
            raise NotFoundError(f"trial {number} of {experiment} has not started here, so it has written nothing")
        last = len(attempts) - 1
        chosen = last if attempt is None else attempt
        if not 0 <= chosen <= last:
            raise NotFoundError(f"trial {number} of {experiment} has no attempt {chosen}; it has 0 to {last}")
        run = attempts[chosen]
        folder = self.workspace.folder(experiment)
        return Log(folder, number, chosen, stream, began=run.pid is not None, over=run.ended is not None)

    def curves(self, id: str | None = None, numbers: Collection[int] | None = None) -> dict[int, list[Report]]:
        """What the last attempt of each of these trials reported, in order; by default of the newest that started.
        Trials without a report are left out."""
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            wanted = trials.newest(tx, experiment, NEWEST) if numbers is None else numbers
            found = metrics.last_attempts(tx, experiment, wanted)
        return {number: [report_model(metric) for metric in reports] for number, reports in found.items()}

    def tails(self, id: str | None, numbers: Collection[int], most: int) -> dict[int, Tail]:
        """The last reports of the last attempt of each of these trials. Trials without a report are left out."""
        with self.store.read() as tx:
            found = metrics.tails(tx, experiments.resolve(tx, id), numbers, most)
        return {
            number: Tail(count, [report_model(one) for one in reports]) for number, (count, reports) in found.items()
        }

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
            found = leaders(tx, experiment, 1)
            succeeded = trials.counts(tx, experiment.id).get(TrialState.SUCCEEDED, 0)
        if not found:
            raise NoBestError(no_best(experiment.id, succeeded))
        return found[0]

    def top(self, id: str | None = None, *, count: int) -> Page[Best]:
        """The first `count` of all that may be the best, the best first."""
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            return Page[Best](items=leaders(tx, experiment, count))

    def pareto(self, id: str | None = None) -> Page[ParetoTrial]:
        """The succeeded trials that no other beats in everything that is optimised, those of the best value first.

        With one number to optimise these are the best trials. Left out are trials that lack a number or break a
        constraint, and repeats.
        """
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            return Page[ParetoTrial](items=pareto_front(tx, experiment))

    def statistics(self, id: str | None = None) -> Statistics:
        """The experiment in numbers."""
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            found = trials.outlines(tx, experiment.id)
        return statistics_of(found, optimize_mode(experiment), experiment.active_seconds)

    def importance(self, id: str | None = None) -> list[Importance]:
        """How much each parameter matters, the most important first; empty while nothing can be said."""
        with self.store.read() as tx:
            experiment = experiments.resolve(tx, id)
            outlines = trials.outlines(tx, experiment)
            chosen = sorted(sample(outlines))
            told = {trial.number: trial.value for trial in outlines}
        with self._weighing:
            seen = [(number, told[number]) for number in chosen]
            known = self._weighed.get(experiment)
            if known is None or known[0] != seen:
                with self.store.read() as tx:
                    found = trials.some(tx, experiment, chosen)
                known = self._weighed[experiment] = seen, importances([found[number] for number in sorted(found)])
        return known[1]

    def search_space(self, id: str | None = None) -> dict[str, JSON]:
        """What the tuner searches, as the user nested it; empty where a task's model has not been studied yet."""
        with self.store.read() as tx:
            config = experiments.get(tx, experiments.resolve(tx, id)).config
        space: dict[str, JSON] = clean(config.get("searchSpace") or {})
        return space

    def facts(self, id: str | None = None) -> dict[str, JSON] | None:
        """What is known of the model of a task (see `records.ModelFacts`); None where there is none."""
        return self._model(id, models.facts)

    def result(self, id: str | None = None) -> dict[str, JSON] | None:
        """What the search of a task came to; None before its end."""
        return self._model(id, models.result)

    def best_so_far(self, id: str | None = None) -> list[float]:
        """The best value after each success, in the order in which trials finished."""
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            return best_so_far(tx, experiment)

    def _model(self, id: str | None, ask: Callable[[Connection, str], JSON]) -> dict[str, JSON] | None:
        with self.store.read() as tx:
            found = ask(tx, experiments.resolve(tx, id))
        told: dict[str, JSON] | None = clean(found)
        return told

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
        return again.model_copy(update={"state": ExperimentState.INTERRUPTED, "message": ""})


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
        imported=trials.imports(tx, stored.id),
        repeated=trials.repeated(tx, stored.id),
        optimize_mode=optimize_mode(stored),
        best=next(iter(leaders(tx, stored, 1)), None),
        limits=Limits(**{name: stored.config.get(name) for name in Limits.model_fields}),
    )


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise UsageError(f"given the limit {limit}; expected 1 to {MAX_PAGE}")
