"""What is known of the model of an experiment with a task, and what came of its search, in the store.

Facts are kept under a key of all that they depend on, so that another experiment of the same task finds them.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from autoprune.records import JSON
from autoprune.store.schema import model as table


def save(tx: Connection, experiment: str, key: str, facts: JSON) -> None:
    """Facts of the experiment's model, in place of earlier ones."""
    tx.execute(delete(table).where(table.c.experiment == experiment))
    tx.execute(insert(table).values(experiment=experiment, key=key, facts=facts))


def facts(tx: Connection, experiment: str) -> JSON:
    """Those of an experiment; None before they are known, or where it has no task."""
    return tx.execute(select(table.c.facts).where(table.c.experiment == experiment)).scalar_one_or_none()


def known(tx: Connection, key: str) -> JSON:
    """The facts that some experiment has kept under this key; None where none has."""
    return tx.execute(select(table.c.facts).where(table.c.key == key).limit(1)).scalar_one_or_none()


def save_result(tx: Connection, experiment: str, result: JSON) -> None:
    """What the search came to."""
    tx.execute(update(table).where(table.c.experiment == experiment).values(result=result))


def result(tx: Connection, experiment: str) -> JSON:
    """What the search came to; None before its end."""
    return tx.execute(select(table.c.result).where(table.c.experiment == experiment)).scalar_one_or_none()
