"""Commands to a running manager: rows it drains, and answers."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, insert, select, update

from autoprune.errors import NotFoundError
from autoprune.records import JSON
from autoprune.store.schema import command as table


@dataclass(frozen=True)
class Command:
    """Something asked of the manager; `answer` says why it was refused, and is empty when it was done. `trial` is the
    number of the trial that it made."""

    id: int
    kind: str
    data: JSON
    created: str
    done: str | None = None
    answer: str | None = None
    trial: int | None = None


_COLUMNS = [table.c[field.name] for field in fields(Command)]


def send(tx: Connection, experiment: str, kind: str, data: JSON, time: str) -> int:
    values = {"experiment": experiment, "kind": kind, "data": data, "created": time}
    identity: int = tx.execute(insert(table).values(values).returning(table.c.id)).scalar_one()
    return identity


def pending(tx: Connection, experiment: str) -> list[Command]:
    query = select(*_COLUMNS).where(table.c.experiment == experiment, table.c.done.is_(None)).order_by(table.c.id)
    return [Command(*row) for row in tx.execute(query)]


def get(tx: Connection, id: int) -> Command:
    return Command(*tx.execute(select(*_COLUMNS).where(table.c.id == id)).one())


def of_experiment(tx: Connection, experiment: str, id: int) -> Command:
    """The same, for who may ask about this experiment alone."""
    row = tx.execute(select(*_COLUMNS).where(table.c.id == id, table.c.experiment == experiment)).one_or_none()
    if row is None:
        raise NotFoundError(f"experiment {experiment} was sent no command {id}")
    return Command(*row)


def answer(tx: Connection, id: int, time: str, text: str = "", trial: int | None = None) -> None:
    tx.execute(update(table).where(table.c.id == id).values(done=time, answer=text, trial=trial))
