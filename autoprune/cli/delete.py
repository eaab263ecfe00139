"""`autoprune delete`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, opened, required_id_argument, workspace_option


@click.command(epilog=examples("autoprune delete digits-261121-k3fq", "autoprune delete digits-261121-k3fq --yes"))
@required_id_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@workspace_option
def command(id: str, yes: bool, workspace: Path | None) -> int:
    """Delete the experiment ID (a unique prefix is enough): its results, logs and outputs.

    An experiment that is running is refused.
    """
    import shutil

    from autoprune.manager.launch import end_orphans
    from autoprune.records import ExperimentState
    from autoprune.store import experiments, trials

    with opened(workspace) as (place, store):
        with store.read() as tx:
            found = experiments.get(tx, experiments.resolve(tx, id))
            count = sum(trials.counts(tx, found.id).values())
        experiment = found.id
        if not yes:
            click.confirm(f"Delete {experiment} with {count} trials and all their files?", abort=True, err=True)
        if found.state is ExperimentState.RUNNING:
            end_orphans(found, place, store)
        with place.lock(experiment), store.write(durable=True) as tx:
            experiments.remove(tx, experiment)
            shutil.rmtree(place.folder(experiment))
    click.echo(f"deleted {experiment}")
    return 0
