"""Pages of trials, in any order."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from autoprune.records import Trial, TrialState
from autoprune.store import trials
from autoprune.store.schema import trial as table

Column: TypeAlias = Literal["number", "value", "started", "ended", "duration"]


@dataclass(frozen=True)
class Metric:
    """A number of a trial's final report, by the names that lead to it."""

    path: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """What a list of trials is sorted by. Trials without it come last, equal ones in the order of their numbers."""

    by: Column | Metric = "number"
    descending: bool = False


@dataclass(frozen=True)
class Filter:
    """Which trials are listed; what is empty or None leaves none out."""

    states: Collection[TrialState] = ()
    feasible: bool | None = None
    origin: str | None = None


@dataclass(frozen=True)
class Position:
    """A place in a sorted list of trials: what the trial there is sorted by, and its number."""

    value: float | str | None
    number: int


@dataclass(frozen=True)
class Listed:
    """A trial, and its place in the list."""

    trial: Trial
    position: Position


def page(
    tx: Connection,
    experiment: str,
    *,
    limit: int,
    order: Order = Order(),
    only: Filter = Filter(),
    after: Position | None = None,
) -> list[Listed]:
    """At most `limit` trials behind a position.

    Which they are is found without reading whole trials: an index has all that they are sorted and filtered by, except
    for metrics.
    """
    key = _key(order.by)
    query = select(table.c.number, key).where(table.c.experiment == experiment, *_where(only))
    if after is not None:
        query = query.where(_behind(after, key, order))
    direction = key.desc() if order.descending else key.asc()
    orders = [direction] if order.by == "number" else [key.is_(None), direction, table.c.number]
    places = [Position(value, number) for number, value in tx.execute(query.order_by(*orders).limit(limit))]
    found = trials.some(tx, experiment, [place.number for place in places])
    return [Listed(found[place.number], place) for place in places]


def figures(tx: Connection, experiment: str, names: Sequence[str]) -> dict[int, list[float | None]]:
    """The value and these metrics of each trial that may be the best, in the order of their numbers."""
    columns = [_number(_path([name])) for name in names]
    query = select(table.c.number, table.c.value, *columns).where(*trials.may_be_best(experiment))
    return {number: found for number, *found in tx.execute(query.order_by(table.c.number))}


def values(tx: Connection, experiment: str, metric: Metric) -> dict[int, float | None]:
    """This number of every trial's final report; None where there is none."""
    query = select(table.c.number, _key(metric)).where(table.c.experiment == experiment)
    return {row.number: row[1] for row in tx.execute(query)}


def _key(by: Column | Metric) -> ColumnElement[Any]:
    match by:
        case Metric(path):
            return _number(_path(path))
        case "duration":
            return trials.duration
        case column:
            return table.c[column]


def _path(names: Sequence[str]) -> str:
    """As SQLite has it."""
    return ".".join(["$", *map(json.dumps, names)])


def _number(path: str) -> ColumnElement[Any]:
    """What is there in the final report, where that is a number; else NULL."""
    report = table.c.metrics
    number = case((func.json_type(report, path).in_(["integer", "real"]), func.json_extract(report, path) * 1.0))
    finite = case((func.abs(number) <= sys.float_info.max, number))
    return case((func.json_valid(report) == 1, finite))


def _where(only: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if only.states:
        found.append(table.c.state.in_(list(only.states)))
    if only.feasible is not None:
        found.append(table.c.feasible.is_(only.feasible))
    if only.origin is not None:
        found.append(table.c.origin == only.origin)
    return found


def _behind(after: Position, key: ColumnElement[Any], order: Order) -> ColumnElement[bool]:
    if order.by == "number":
        return key < after.number if order.descending else key > after.number
    tie = and_(key.is_not_distinct_from(after.value), table.c.number > after.number)
    if after.value is None:
        return tie
    further = key < after.value if order.descending else key > after.value
    return or_(further, tie, key.is_(None))
