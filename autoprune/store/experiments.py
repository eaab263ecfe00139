"""Experiments in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from autoprune.errors import NotFoundError, did_you_mean
from autoprune.records import JSON, ExperimentState
from autoprune.store.schema import experiment as table


@dataclass(frozen=True)
class Experiment:
    """An experiment as stored: its configuration in full, so that nothing but the store is needed to resume it.

    `message` is what it does outside its trials while it runs, then why it ended as it did.
    """

    id: str
    name: str
    config: JSON
    seed: int
    state: ExperimentState
    created: str
    source: str = ""
    ended: str | None = None
    message: str = ""
    active_seconds: float = 0.0


def create(tx: Connection, experiment: Experiment) -> None:
    values = {column.name: getattr(experiment, column.name) for column in table.columns}
    tx.execute(insert(table).values(values))


def get(tx: Connection, id: str) -> Experiment:
    row = tx.execute(select(table).where(table.c.id == id)).one_or_none()
    if row is None:
        raise NotFoundError(f"no experiment has the id {id}")
    return _experiment(row)


def newest_first(tx: Connection) -> list[Experiment]:
    return [_experiment(row) for row in tx.execute(select(table).order_by(table.c.created.desc(), table.c.id))]


def page(tx: Connection, *, limit: int, after: tuple[str, str] | None = None) -> list[Experiment]:
    """At most `limit` experiments, newest first, behind the one with this `created` and id."""
    query = select(table)
    if after is not None:
        created, id = after
        query = query.where(or_(table.c.created < created, and_(table.c.created == created, table.c.id > id)))
    return [_experiment(row) for row in tx.execute(query.order_by(table.c.created.desc(), table.c.id).limit(limit))]


def resolve(tx: Connection, prefix: str | None) -> str:
    """The id that a unique prefix stands for; without one, the newest experiment's."""
    ids: list[str] = list(tx.execute(select(table.c.id).order_by(table.c.created.desc(), table.c.id)).scalars())
    if not ids:
        raise NotFoundError("this workspace has no experiments yet; start one with: autoprune run config.yml")
    if prefix is None:
        return ids[0]
    matching = [prefix] if prefix in ids else [id for id in ids if prefix and id.startswith(prefix)]
    if not matching:
        raise NotFoundError(f"no experiment has an id that begins with {prefix!r} ({did_you_mean(prefix, ids[:10])})")
    if len(matching) > 1:
        raise NotFoundError(f"{prefix!r} begins {len(matching)} ids: {', '.join(matching[:10])}; give more of it")
    return matching[0]


def set_state(tx: Connection, id: str, state: ExperimentState, ended: str | None = None, message: str = "") -> None:
    change = {"state": state, "ended": ended, "message": message}
    tx.execute(update(table).where(table.c.id == id).values(change))


def set_phase(tx: Connection, id: str, message: str) -> None:
    """What the experiment does now, before or after its trials; one that has ended keeps its message."""
    where = (table.c.id == id, table.c.state == ExperimentState.RUNNING)
    tx.execute(update(table).where(*where).values(message=message))


def set_config(tx: Connection, id: str, config: JSON) -> None:
    tx.execute(update(table).where(table.c.id == id).values(config=config))


def set_active_seconds(tx: Connection, id: str, seconds: float) -> None:
    tx.execute(update(table).where(table.c.id == id).values(active_seconds=seconds))


def remove(tx: Connection, id: str) -> None:
    tx.execute(delete(table).where(table.c.id == id))


def _experiment(row: Row[Any]) -> Experiment:
    values = dict(row._mapping)
    return Experiment(**{**values, "state": ExperimentState(values["state"])})
