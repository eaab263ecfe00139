"""`autoprune resume`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import (
    examples,
    note,
    opened,
    required_id_argument,
    server_options,
    top_option,
    workspace_option,
)
from autoprune.cli._drive import drive_and_show
from autoprune.cli._progress import print_json


@click.command(epilog=examples("autoprune resume digits-261121-k3fq", "autoprune resume digits --json"))
@required_id_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per event.")
@click.option("--quiet", is_flag=True, help="Say only how it ended.")
@top_option
@server_options
@workspace_option
def command(
    id: str,
    as_json: bool,
    quiet: bool,
    top: int,
    port: int,
    host: str,
    token_file: Path | None,
    no_server: bool,
    workspace: Path | None,
) -> int:
    """Go on with the experiment ID (a unique prefix is enough) where it stopped, however it stopped.

    Trials that were running are run again with the same parameters; no result is lost or counted twice. The
    configuration is the one the experiment was started with.
    """
    from autoprune.records import ExperimentState
    from autoprune.server.door import Door
    from autoprune.store import experiments

    door = None if no_server else Door.kept(host, port, token_file)
    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
        if experiment.state is ExperimentState.DONE:
            if as_json:
                ended = {"state": experiment.state, "message": experiment.message}
                print_json({"event": "experiment_ended", "time": experiment.ended, **ended})
            else:
                note(f"experiment {experiment.id} is finished: {experiment.message}")
            return 0
        return drive_and_show(experiment, place, store, resumed=True, as_json=as_json, quiet=quiet, door=door, top=top)
