"""What `update`, `import`, `trial enqueue` and `trial retry` share: they change an experiment, at any time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import click

from autoprune.cli._common import note

if TYPE_CHECKING:
    from autoprune.records import JSON
    from autoprune.store import Store, Workspace

Done: TypeAlias = Callable[[str, int | None], str]
"""The sentence that says it, of the experiment's id and the number of the trial that was made."""


def change(place: Workspace, store: Store, id: str | None, kind: str, data: JSON, done: Done) -> None:
    """Have the change made, say that it is `done`, and how the experiment goes on with it where it does not run."""
    from autoprune.manager import ask
    from autoprune.records import ExperimentState
    from autoprune.store import experiments

    with store.read() as tx:
        experiment = experiments.resolve(tx, id)
    click.echo(done(experiment, ask.change(place, store, experiment, kind, data)))
    with store.read() as tx:
        state = experiments.get(tx, experiment).state
    if state is not ExperimentState.DONE and not place.locked(experiment):
        note(f"the experiment does not run now; go on with: autoprune resume {experiment}")
