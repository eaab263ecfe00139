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
    from autoprune.manager.ask import kill
    from autoprune.store import experiments

    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.resolve(tx, id)
        kill(place, store, experiment, number)
    click.echo(f"killed trial {number} of {experiment}")
    return 0
