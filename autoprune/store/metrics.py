"""Reports of trials in the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, insert, select, tuple_

from autoprune.records import Metric
from autoprune.store.schema import metric as table


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


def _metric(row: Row[Any]) -> Metric:
    fields = row._mapping
    return Metric(**{name: fields[name] for name in ("attempt", "seq", "final", "value", "values", "time")})
