"""Asking a running manager for something, from any process: a row in the store, and its answer."""

from __future__ import annotations

import time

from autoprune.errors import AutopruneError, ConflictError, UsageError
from autoprune.manager.changes import make_here
from autoprune.manager.launch import end_orphans
from autoprune.records import JSON, ExperimentState, timestamp
from autoprune.store import Command, Experiment, Store, Workspace, commands, trials

_PATIENCE = 60.0
_POLL_SECONDS = 0.02


def send(store: Store, experiment: str, kind: str, data: JSON) -> int:
    """Leave a command for the manager, without waiting for it; returns the command's number."""
    with store.write(durable=True) as tx:
        return commands.send(tx, experiment, kind, data, timestamp(time.time()))


def ask_manager(place: Workspace, store: Store, experiment: str, kind: str, data: JSON) -> Command:
    """Send a command and wait until the manager has done it; a refusal is an error."""
    id = send(store, experiment, kind, data)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with store.read() as tx:
            command = commands.get(tx, id)
        if command.done is not None:
            if command.answer:
                raise UsageError(command.answer)
            return command
        if not place.locked(experiment) and not _is_done(store, id):
            raise UsageError(f"experiment {experiment} ended before it could {kind}")
        time.sleep(_POLL_SECONDS)
    raise AutopruneError(f"the manager of {experiment} has not answered for {_PATIENCE:g} seconds; it may still {kind}")


def _is_done(store: Store, command: int) -> bool:
    """Whether a manager answered; it does so before it lets go of the lock."""
    with store.read() as tx:
        return commands.get(tx, command).done is not None


def change(place: Workspace, store: Store, experiment: str, kind: str, data: JSON) -> int | None:
    """Have an experiment changed (`autoprune.manager.changes`): by its manager, or here where none runs it.

    Returns the number of the trial that was made, where the change is about one.
    """
    if place.locked(experiment):
        return ask_manager(place, store, experiment, kind, data).trial
    made = make_here(experiment, kind, data, place, store).enqueued
    return made.number if made else None


def kill(place: Workspace, store: Store, experiment: str, number: int) -> None:
    """End a running trial, with every process it started."""
    with store.read() as tx:
        trial = trials.get(tx, experiment, number)
    if trial.state.finished:
        raise UsageError(f"trial {number} of {experiment} has already ended: {trial.state}")
    if not place.locked(experiment):
        raise ConflictError(
            f"experiment {experiment} has no manager; to end what one that died left running: "
            f"autoprune stop {experiment}"
        )
    ask_manager(place, store, experiment, "kill", {"trial": number})


def stop(experiment: Experiment, place: Workspace, store: Store) -> bool:
    """End a running experiment, or what a manager that died left of it, and wait until all its processes are gone.

    Returns whether there was anything to stop.
    """
    if place.locked(experiment.id):
        ask_manager(place, store, experiment.id, "stop", {})
        _wait_until_unlocked(place, experiment.id)
        return True
    if experiment.state is ExperimentState.RUNNING:
        end_orphans(experiment, place, store)
        return True
    return False


def _wait_until_unlocked(place: Workspace, experiment: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while place.locked(experiment):
        if time.monotonic() > deadline:
            raise AutopruneError(f"the manager of {experiment} has not ended for {_PATIENCE:g} seconds")
        time.sleep(_POLL_SECONDS)
