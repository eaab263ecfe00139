"""Reports of trials in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select, tuple_

from autoprune.records import Metric
from autoprune.store.schema import metric as table
from autoprune.store.schema import trial


def add(tx: Connection, experiment: str, number: int, reports: Iterable[Metric]) -> None:
    fields = ("attempt", "seq", "final", "value", "values", "time")
    rows = [
        {"experiment": experiment, "number": number, **{name: getattr(report, name) for name in fields}}
        for report in reports
    ]
    if rows:
        tx.execute(insert(table), rows)


def of_trial(tx: Connection, experiment: str, number: int) -> list[Metric]:
    """All reports of all attempts, in order."""
    where = (table.c.experiment == experiment, table.c.number == number)
    query = select(table).where(*where).order_by(table.c.attempt, table.c.seq)
    return [_metric(row) for row in tx.execute(query)]


def page(
    tx: Connection, experiment: str, number: int, *, limit: int, after: tuple[int, int] | None = None
) -> list[Metric]:
    """At most `limit` reports of a trial, in order, behind the one of this attempt and seq."""
    query = select(table).where(table.c.experiment == experiment, table.c.number == number)
    if after is not None:
        query = query.where(tuple_(table.c.attempt, table.c.seq) > after)
    return [_metric(row) for row in tx.execute(query.order_by(table.c.attempt, table.c.seq).limit(limit))]


def intermediates(tx: Connection, experiment: str) -> dict[tuple[int, int], list[float]]:
    """The learning curve of every (trial, attempt): its intermediate values, in order."""
    where = (table.c.experiment == experiment, table.c.final.is_(False), table.c.value.is_not(None))
    columns = (table.c.number, table.c.attempt, table.c.value)
    query = select(*columns).where(*where).order_by(table.c.number, table.c.attempt, table.c.seq)
    curves: dict[tuple[int, int], list[float]] = {}
    for number, attempt, value in tx.execute(query):
        curves.setdefault((number, attempt), []).append(value)
    return curves


def last_attempts(tx: Connection, experiment: str, numbers: Collection[int]) -> dict[int, list[Metric]]:
    """What the last attempt of each of these trials has reported, in order; trials without a report are left out."""
    last = and_(trial.c.experiment == table.c.experiment, trial.c.number == table.c.number)
    query = (
        select(table)
        .join(trial, and_(last, table.c.attempt == trial.c.attempts - 1))
        .where(table.c.experiment == experiment, table.c.number.in_(list(numbers)))
        .order_by(table.c.number, table.c.seq)
    )
    found: dict[int, list[Metric]] = {}
    for row in tx.execute(query):
        found.setdefault(row.number, []).append(_metric(row))
    return found


def tails(tx: Connection, experiment: str, numbers: Collection[int], most: int) -> dict[int, tuple[int, list[Metric]]]:
    """How many reports there are of the last attempt of each of these trials, and the last few of them, in order."""
    last = and_(trial.c.experiment == table.c.experiment, trial.c.number == table.c.number)
    ends = (
        select(table.c.number, table.c.attempt, func.count().label("count"), func.max(table.c.seq).label("end"))
        .join(trial, and_(last, table.c.attempt == trial.c.attempts - 1))
        .where(table.c.experiment == experiment, table.c.number.in_(list(numbers)))
        .group_by(table.c.number, table.c.attempt)
        .subquery()
    )
    own = and_(table.c.number == ends.c.number, table.c.attempt == ends.c.attempt, table.c.seq > ends.c.end - most)
    query = select(table, ends.c.count).join(ends, own).where(table.c.experiment == experiment)
    found: dict[int, tuple[int, list[Metric]]] = {}
    for row in tx.execute(query.order_by(table.c.number, table.c.seq)):
        found.setdefault(row.number, (row._mapping["count"], []))[1].append(_metric(row))
    return found


def _metric(row: Row[Any]) -> Metric:
    fields = row._mapping
    return Metric(**{name: fields[name] for name in ("attempt", "seq", "final", "value", "values", "time")})
