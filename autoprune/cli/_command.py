"""Asking a running manager for something: a row in the store, and its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from autoprune.errors import AutopruneError, UsageError

if TYPE_CHECKING:
    from autoprune.records import JSON
    from autoprune.store import Store, Workspace

_PATIENCE = 60.0


def ask_manager(place: Workspace, store: Store, experiment: str, kind: str, data: JSON) -> None:
    """Send a command and wait until the manager has done it; a refusal is an error."""
    from autoprune.records import timestamp
    from autoprune.store import commands

    with store.write(durable=True) as tx:
        id = commands.send(tx, experiment, kind, data, timestamp(time.time()))
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with store.read() as tx:
            command = commands.get(tx, id)
        if command.done is not None:
            if command.answer:
                raise UsageError(command.answer)
            return
        if not place.locked(experiment):
            raise UsageError(f"experiment {experiment} ended before it could {kind}")
        time.sleep(0.02)
    raise AutopruneError(f"the manager of {experiment} has not answered for {_PATIENCE:g} seconds")


def wait_until_unlocked(place: Workspace, experiment: str) -> None:
    """Until the experiment's manager is gone, and its trials with it."""
    deadline = time.monotonic() + _PATIENCE
    while place.locked(experiment):
        if time.monotonic() > deadline:
            raise AutopruneError(f"the manager of {experiment} has not ended for {_PATIENCE:g} seconds")
        time.sleep(0.02)
