"""What `update`, `trial retry` and `import` share: they change an experiment, whether it runs now or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import note

if TYPE_CHECKING:
    from autoprune.records import JSON
    from autoprune.store import Store, Workspace


def change(place: Workspace, store: Store, id: str | None, kind: str, data: JSON, done: Callable[[str], str]) -> None:
    """Have the change made, say that it is `done`, and how the experiment goes on with it where it does not run."""
    from autoprune.manager import ask
    from autoprune.records import ExperimentState
    from autoprune.store import experiments

    with store.read() as tx:
        experiment = experiments.resolve(tx, id)
    ask.change(place, store, experiment, kind, data)
    click.echo(done(experiment))
    with store.read() as tx:
        state = experiments.get(tx, experiment).state
    if state is not ExperimentState.DONE and not place.locked(experiment):
        note(f"the experiment does not run now; go on with: autoprune resume {experiment}")
