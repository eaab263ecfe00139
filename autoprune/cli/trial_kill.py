"""`autoprune trial kill`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, experiment_option, number_argument, opened, workspace_option


@click.command(epilog=examples("autoprune trial kill 3", "autoprune trial kill 3 -e digits-261121-k3fq"))
@number_argument
@experiment_option
@workspace_option
def command(number: int, id: str | None, workspace: Path | None) -> int:
    """Kill trial NUMBER of a running experiment, with every process it started; it ends as USER_CANCELED."""
    from autoprune.errors import UsageError
    from autoprune.manager.ask import ask_manager
    from autoprune.store import experiments, trials

    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.resolve(tx, id)
            trial = trials.get(tx, experiment, number)
        if trial.state.finished:
            raise UsageError(f"trial {number} of {experiment} has already ended: {trial.state}")
        if not place.locked(experiment):
            raise UsageError(
                f"experiment {experiment} has no manager; to end what one that died left running: "
                f"autoprune stop {experiment}"
            )
        ask_manager(place, store, experiment, "kill", {"trial": number})
    click.echo(f"killed trial {number} of {experiment}")
    return 0
