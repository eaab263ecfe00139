"""The store: every experiment, trial, report, event and command, in one SQL database.

The manager of an experiment is the only one that writes its results; everyone else reads, or leaves a command.
SQLite in WAL mode by default. Intermediate results survive the death of the process, final ones also a power cut.
Each module here is one table and the plain functions over it; they run inside a transaction of `Store`:

    with store.write(durable=True) as tx:
        trials.finish(tx, experiment, number, state, time, value=value)
"""

from autoprune.store import commands, events, experiments, listing, metrics, models, trials
from autoprune.store.commands import Command
from autoprune.store.events import Event
from autoprune.store.experiments import Experiment
from autoprune.store.store import Store, open_store
from autoprune.store.trials import Attempt
from autoprune.store.workspace import FOLDER, Workspace, find_workspace

__all__ = [
    "FOLDER",
    "Attempt",
    "Command",
    "Event",
    "Experiment",
    "Store",
    "Workspace",
    "commands",
    "events",
    "experiments",
    "find_workspace",
    "listing",
    "metrics",
    "models",
    "open_store",
    "trials",
]
