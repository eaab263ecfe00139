"""What happened, in order: the manager's log of an experiment.

A notice is what is told of an event, `{"event": ..., "time": ..., ...}`: a line of `run --json`, and the data of a
server-sent event. Reports are told in the same form, and kept as reports alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from autoprune.records import JSON, Metric
from autoprune.store.schema import event as table


@dataclass(frozen=True)
class Event:
    """One thing that happened. `id` grows and is never used twice."""

    id: int
    time: str
    kind: str
    data: JSON

    @property
    def notice(self) -> dict[str, JSON]:
        return {"event": self.kind, "time": self.time, **self.data}


def add(tx: Connection, experiment: str, time: str, kind: str, data: JSON) -> Event:
    values = {"experiment": experiment, "time": time, "kind": kind, "data": data}
    result = tx.execute(insert(table).values(values).returning(table.c.id))
    return Event(result.scalar_one(), time, kind, data)


def after(tx: Connection, experiment: str, id: int = 0, limit: int = 1000) -> list[Event]:
    """The events that followed the one of this id."""
    columns = (table.c.id, table.c.time, table.c.kind, table.c.data)
    where = (table.c.experiment == experiment, table.c.id > id)
    rows = tx.execute(select(*columns).where(*where).order_by(table.c.id).limit(limit))
    return [Event(*row) for row in rows]


def last(tx: Connection, experiment: str) -> int:
    """The id of the newest event; 0 where there is none."""
    query = select(func.max(table.c.id)).where(table.c.experiment == experiment)
    return tx.execute(query).scalar() or 0


def report_notice(number: int, report: Metric) -> dict[str, JSON]:
    """What is told of a report of this trial."""
    return {
        "event": "final_result" if report.final else "intermediate_result",
        "time": report.time,
        "trial": number,
        "attempt": report.attempt,
        "seq": report.seq,
        "value": report.value,
        "metrics": dict(report.values),
    }
