"""What an experiment optimises, and which of its trials are the best (see `autoprune.standings`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from sqlalchemy import Connection

from autoprune import records
from autoprune.errors import NotFoundError
from autoprune.pareto import fronts
from autoprune.protocol import DEFAULT
from autoprune.records import OptimizeMode
from autoprune.results.models import Best, ParetoTrial
from autoprune.results.shapes import common
from autoprune.search_space.leaves import is_number
from autoprune.standings import Standing, noise, standings
from autoprune.store import Experiment, Store, experiments, listing, trials


class NoBestError(NotFoundError):
    """No trial has succeeded, or none that succeeded is feasible, so none is the best."""


def best(store: Store, experiment: str) -> records.Trial | None:
    """The best trial, as a record; None where none has succeeded and is feasible."""
    with store.read() as tx:
        found = _standings(tx, experiments.get(tx, experiment), 1)
    return found[0].trial if found else None


def leaders(tx: Connection, experiment: Experiment, count: int) -> list[Best]:
    """The first so many of all that may be the best, the best first."""
    found = _standings(tx, experiment, count)
    spread = noise(trials.repeats(tx, experiment.id)) if any(one.repeats for one in found) else None
    return [Best(**common(one.trial), mean=one.mean, repeats=len(one.repeats), noise=spread) for one in found]


def best_so_far(tx: Connection, experiment: Experiment) -> list[float]:
    """The best value after each feasible success, in the order in which trials finished."""
    better = max if optimize_mode(experiment) is OptimizeMode.MAXIMIZE else min
    return list(accumulate(trials.successes(tx, experiment.id), better))


def pareto_front(tx: Connection, experiment: Experiment) -> list[ParetoTrial]:
    """The trials that no other beats in everything that is optimised, those of the best value first.

    Left out are trials that lack a number or break a constraint, and repeats.
    """
    modes = objectives(experiment.config)
    others = [name for name in modes if name != DEFAULT]
    signs = [-1 if mode is OptimizeMode.MAXIMIZE else 1 for mode in modes.values()]
    found = {
        number: [value for value in values if value is not None]
        for number, values in listing.figures(tx, experiment.id, others).items()
        if None not in values
    }
    numbers = list(found)
    losses = [[sign * value for sign, value in zip(signs, values, strict=True)] for values in found.values()]
    best = [place for front in fronts(losses, 1) for place in sorted(front, key=lambda place: (losses[place], place))]
    chosen = trials.some(tx, experiment.id, [numbers[place] for place in best])
    return [
        ParetoTrial(**common(chosen[number]), objectives=dict(zip(modes, found[number], strict=True)))
        for number in (numbers[place] for place in best)
    ]


def no_best(experiment: str, succeeded: int) -> str:
    """Why there is no best trial."""
    if succeeded:
        return f"no trial of {experiment} keeps to all constraints, so there is no best one yet"
    return f"no trial of {experiment} has succeeded, so there is no best one yet"


def optimize_mode(experiment: Experiment) -> OptimizeMode:
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


def _standings(tx: Connection, experiment: Experiment, limit: int) -> list[Standing]:
    """The first so many. Whole trials are read of these alone, of what was repeated, and of the repeats."""
    highest = optimize_mode(experiment) is OptimizeMode.MAXIMIZE
    repeats = trials.repeats(tx, experiment.id)
    repeated = {trial.repeat_of for trial in repeats if trial.repeat_of is not None}
    best = trials.best(tx, experiment.id, highest=highest, limit=limit + len(repeated))
    known = {trial.number: trial for trial in [*best, *repeats]} | trials.some(tx, experiment.id, repeated)
    return standings(known.values(), highest=highest)[:limit]
