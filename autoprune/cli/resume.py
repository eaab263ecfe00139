"""`autoprune resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, note, opened, required_id_argument
from autoprune.cli._drive import Show, drive_and_show, run_options
from autoprune.cli._progress import print_json

if TYPE_CHECKING:
    from autoprune.server.door import Door


@click.command(epilog=examples("autoprune resume digits-261121-k3fq", "autoprune resume digits --detach"))
@required_id_argument
@run_options
def command(id: str, detach: bool, show: Show, door: Door | None, workspace: Path | None) -> int:
    """Go on with the experiment ID (a unique prefix is enough) where it stopped, however it stopped.

    Trials that were running are run again with the same parameters; no result is lost or counted twice. The
    configuration is the one the experiment was started with.
    """
    from autoprune.records import ExperimentState
    from autoprune.store import experiments

    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
        if experiment.state is ExperimentState.DONE:
            if show.as_json:
                ended = {"state": experiment.state, "message": experiment.message}
                print_json({"event": "experiment_ended", "time": experiment.ended, **ended})
            else:
                note(f"experiment {experiment.id} is finished: {experiment.message}")
            return 0
        return drive_and_show(experiment, place, store, show, door, resumed=True, detach=detach)
