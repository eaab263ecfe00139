"""The tables, and the numbered migrations that make them.

A new database gets the tables as they stand here. An older one is brought up to date when it is opened, by one
function from each version to the next; a change of the tables adds one at the end of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import JSON as Json
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    true,
    update,
)
from sqlalchemy.schema import CreateColumn

from autoprune.errors import StoreError

tables = MetaData()

schema_version = Table("schema_version", tables, Column("version", Integer, nullable=False))

experiment = Table(
    "experiment",
    tables,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("config", Json, nullable=False),
    Column("source", Text, nullable=False, default=""),
    Column("seed", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("created", String, nullable=False),
    Column("ended", String),
    Column("message", Text, nullable=False, default=""),
    Column("active_seconds", Float, nullable=False, default=0.0),
)

trial = Table(
    "trial",
    tables,
    Column("experiment", ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("value", Float),
    Column("metrics", Json, nullable=False, default=dict),
    Column("created", String, nullable=False),
    Column("started", String),
    Column("ended", String),
    Column("attempts", Integer, nullable=False, default=0),
    Column("message", Text, nullable=False, default=""),
    Column("tuner_state", Json),
    Column("known", Integer, nullable=False, default=0),
    Column("finish_order", Integer),
    Column("origin", String, nullable=False, default="", server_default=""),
    Column("repeat_of", Integer),
    Column("feasible", Boolean, nullable=False, default=True, server_default=true()),
    Index("trial_by_value", "experiment", "state", "value"),
)

trial_in_short = Index(
    "trial_in_short",
    *(trial.c.experiment, trial.c.number, trial.c.state, trial.c.value, trial.c.started, trial.c.ended),
    *(trial.c.attempts, trial.c.finish_order, trial.c.origin, trial.c.repeat_of, trial.c.feasible),
)
"""All small columns of a trial, so that lists are sorted, filtered and counted without reading parameters."""

model = Table(
    "model",
    tables,
    Column("experiment", ForeignKey("experiment.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String, nullable=False),
    Column("facts", Json, nullable=False),
    Column("result", Json),
    Index("model_by_key", "key"),
)

attempt = Table(
    "attempt",
    tables,
    Column("experiment", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("pid", Integer),
    Column("pid_created", Float),
    Column("started", String, nullable=False),
    Column("ended", String),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("message", Text, nullable=False, default=""),
    ForeignKeyConstraint(["experiment", "number"], ["trial.experiment", "trial.number"], ondelete="CASCADE"),
)

metric = Table(
    "metric",
    tables,
    Column("experiment", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("final", Boolean, nullable=False),
    Column("value", Float),
    Column("values", Json, nullable=False),
    Column("time", String, nullable=False),
    ForeignKeyConstraint(["experiment", "number"], ["trial.experiment", "trial.number"], ondelete="CASCADE"),
)

event = Table(
    "event",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("experiment", ForeignKey("experiment.id", ondelete="CASCADE"), nullable=False),
    Column("time", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("data", Json, nullable=False),
    Index("event_by_experiment", "experiment", "id"),
    sqlite_autoincrement=True,
)

command = Table(
    "command",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("experiment", ForeignKey("experiment.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("data", Json, nullable=False),
    Column("created", String, nullable=False),
    Column("done", String),
    Column("answer", Text),
    Column("trial", Integer),
    Index("command_pending", "experiment", "done"),
    sqlite_autoincrement=True,
)


def _models_and_where_trials_come_from(connection: Connection) -> None:
    """Version 2."""
    _add(connection, trial.c.origin, trial.c.repeat_of, trial.c.feasible)
    model.create(connection)


def _trials_in_short(connection: Connection) -> None:
    """Version 3."""
    trial_in_short.create(connection)


def _trials_made_by_command(connection: Connection) -> None:
    """Version 4."""
    _add(connection, command.c.trial)


def _add(connection: Connection, *columns: Column[Any]) -> None:
    for column in columns:
        definition = CreateColumn(column).compile(connection)
        connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")


MIGRATIONS: Sequence[Callable[[Connection], None]] = (
    _models_and_where_trials_come_from,
    _trials_in_short,
    _trials_made_by_command,
)
"""`MIGRATIONS[n]` takes a database from version n + 1 to n + 2."""

VERSION = 1 + len(MIGRATIONS)


def migrate(connection: Connection) -> None:
    """Bring the database to the newest version; a database from the future is refused."""
    if not inspect(connection).has_table(schema_version.name):
        tables.create_all(connection)
        connection.execute(insert(schema_version).values(version=VERSION))
        return
    current = connection.execute(select(schema_version.c.version)).scalar_one()
    if current > VERSION:
        raise StoreError(
            f"the database has version {current}; this autoprune knows versions up to {VERSION}: upgrade autoprune"
        )
    if current < VERSION:
        for step in MIGRATIONS[current - 1 :]:
            step(connection)
        connection.execute(update(schema_version).values(version=VERSION))
