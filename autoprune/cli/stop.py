"""`autoprune stop`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, note, opened, required_id_argument, workspace_option


@click.command(epilog=examples("autoprune stop digits-261121-k3fq", "autoprune stop digits --workspace /data/search"))
@required_id_argument
@workspace_option
def command(id: str, workspace: Path | None) -> int:
    """Stop the running experiment ID (a unique prefix is enough) and wait until all its processes are gone.

    What a manager that died left running is ended, too. Trials that were running wait to run again:
    `autoprune resume ID` goes on where it stopped.
    """
    from autoprune.manager.ask import stop
    from autoprune.store import experiments

    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
        if not stop(experiment, place, store):
            note(f"experiment {experiment.id} is not running: {experiment.state}")
            return 0
    click.echo(f"stopped {experiment.id}; go on with: autoprune resume {experiment.id}")
    return 0
