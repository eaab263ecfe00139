"""Commands to a running manager: rows it drains, and answers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from autoprune.records import JSON
from autoprune.store.schema import command as table


@dataclass(frozen=True)
class Command:
    """Something asked of the manager; `answer` says what became of it, empty when it was simply done."""

    id: int
    kind: str
    data: JSON
    created: str
    done: str | None = None
    answer: str | None = None


_COLUMNS = (table.c.id, table.c.kind, table.c.data, table.c.created, table.c.done, table.c.answer)


def send(tx: Connection, experiment: str, kind: str, data: JSON, time: str) -> int:
    values = {"experiment": experiment, "kind": kind, "data": data, "created": time}
    identity: int = tx.execute(insert(table).values(values).returning(table.c.id)).scalar_one()
    return identity


def pending(tx: Connection, experiment: str) -> list[Command]:
    query = select(*_COLUMNS).where(table.c.experiment == experiment, table.c.done.is_(None)).order_by(table.c.id)
    return [Command(*row) for row in tx.execute(query)]


def get(tx: Connection, id: int) -> Command:
    return Command(*tx.execute(select(*_COLUMNS).where(table.c.id == id)).one())


def answer(tx: Connection, id: int, time: str, text: str = "") -> None:
    tx.execute(update(table).where(table.c.id == id).values(done=time, answer=text))
