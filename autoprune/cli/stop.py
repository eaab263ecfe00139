"""`autoprune stop`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._command import ask_manager, wait_until_unlocked
from autoprune.cli._common import examples, note, opened, workspace_option


@click.command(epilog=examples("autoprune stop digits-261121-k3fq", "autoprune stop digits --workspace /data/search"))
@click.argument("id", metavar="ID")
@workspace_option
def command(id: str, workspace: Path | None) -> int:
    """Stop the running experiment ID (a unique prefix is enough) and wait until all its processes are gone.

    Trials that were running wait to run again: `autoprune resume ID` goes on where it stopped.
    """
    from autoprune.store import experiments

    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.resolve(tx, id)
        if not place.locked(experiment):
            note(f"experiment {experiment} is not running")
            return 0
        ask_manager(place, store, experiment, "stop", {})
        wait_until_unlocked(place, experiment)
    click.echo(f"stopped {experiment}; go on with: autoprune resume {experiment}")
    return 0
