"""`autoprune import`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._change import change
from autoprune.cli._common import examples, note, opened, required_id_argument, workspace_option


@click.command(
    epilog=examples("autoprune import digits results.json", "autoprune import digits nni.json --skip-misfits")
)
@required_id_argument
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--skip-misfits",
    is_flag=True,
    help="Leave out trials whose parameters are not of this search space, in place of refusing the file.",
)
@workspace_option
def command(id: str, file: Path, skip_misfits: bool, workspace: Path | None) -> int:
    """Take the results in FILE into the experiment ID (a unique prefix is enough), for its tuner to learn from.

    FILE is what `autoprune export --format json` wrote, or NNI's [{"parameter": {...}, "value": 0.9}]. Trials that
    succeeded become trials of this experiment, under new numbers; they do not count against maxTrialNumber. Either
    all are taken in or, where parameters are not of this search space, none.
    """
    from autoprune.config import ExperimentConfig
    from autoprune.errors import UsageError
    from autoprune.results.import_ import read_results
    from autoprune.results.leaders import objectives
    from autoprune.store import experiments, trials

    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
            existing = trials.all(tx, experiment.id)
        space = ExperimentConfig.from_json(experiment.config).space
        arrived = read_results(text, str(file), space, objectives(experiment.config), skip_misfits=skip_misfits)
        if known := arrived.known(existing):
            note(f"warning: {known} of these results are there already, and will be there twice")
        if arrived.left_out:
            note("\n  ".join([f"left out {len(arrived.left_out)} of the trials:", *arrived.left_out]))
        count = f"{len(arrived.trials)} trial{'' if len(arrived.trials) == 1 else 's'}"
        data = {"file": file.name, "trials": arrived.trials}
        change(place, store, experiment.id, "import", data, lambda id, _: f"imported {count} into {id}")
    return 0
