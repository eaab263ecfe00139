"""`autoprune refit`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, id_argument, note, opened, print_json, workspace_option

if TYPE_CHECKING:
    from autoprune.config import ExperimentConfig
    from autoprune.records import JSON
    from autoprune.store import Experiment, Store, Workspace


@click.command(
    epilog=examples(
        "autoprune refit",
        "autoprune refit resnet8 --trial 17",
        "autoprune refit resnet8 --trial 17 --epochs 20 --out long",
    )
)
@id_argument
@click.option("--trial", "number", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Make the model of trial N.")
@click.option(
    "--epochs", type=click.IntRange(min=0), metavar="N", help="Train on for N epochs, in place of search.finalEpochs."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to write; by default best/ or, with --trial, refit/N/ in the experiment's folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@workspace_option
def command(
    id: str | None, number: int | None, epochs: int | None, out: Path | None, as_json: bool, workspace: Path | None
) -> None:
    """Make the smaller model of a trial of ID: an experiment with a task; by default the newest.

    With --trial, the trial is done again from its parameters and its seed, whatever became of it: on the same machine,
    with as many threads, the model is the same. Of a trial that has the result of another one, it is that one's model.
    Without, the best trial's model is made as at the end of a run, from the weights that were kept, and compared with
    the starting points. Either trains on for some epochs, of which the result is kept if it is better.

    The folder then has model.safetensors, card.md, which says how to load it, and result.json; best/ has report.html
    as well.
    """
    from autoprune.cli._model import show_model
    from autoprune.config import ExperimentConfig
    from autoprune.errors import UsageError
    from autoprune.store import experiments

    with opened(workspace) as (place, store):
        with store.read() as tx:
            experiment = experiments.get(tx, experiments.resolve(tx, id))
        if experiment.config.get("task") is None:
            raise UsageError(
                f"given {experiment.id}, whose trials are a command of their own; expected an experiment with a task: "
                "only of those autoprune knows how to make the model"
            )
        config = ExperimentConfig.from_json(experiment.config)
        folder = None if out is None else out.absolute()
        if number is None:
            result, folder = _best(experiment, config, place, store, epochs, folder)
        else:
            result, folder = _again(experiment, config, place, store, number, epochs, folder)
    if as_json:
        print_json(result)
    else:
        show_model(result, folder)


def _best(
    experiment: Experiment,
    config: ExperimentConfig,
    place: Workspace,
    store: Store,
    epochs: int | None,
    out: Path | None,
) -> tuple[JSON, Path]:
    from autoprune.cli._progress import print_line
    from autoprune.manager.finishing import finish, report
    from autoprune.manager.journal import Journal
    from autoprune.results.leaders import NoBestError

    with place.lock(experiment.id):
        journal = Journal(store, experiment.id, time.time, print_line)
        result = finish(experiment, config, place, journal, epochs=epochs, out=out)
        if result is not None and out is None:
            report(experiment, place, journal)
    if result is None:
        raise NoBestError(f"no trial of {experiment.id} has succeeded, so there is no best one yet")
    return result, out or place.best(experiment.id)


def _again(
    experiment: Experiment,
    config: ExperimentConfig,
    place: Workspace,
    store: Store,
    number: int,
    epochs: int | None,
    out: Path | None,
) -> tuple[JSON, Path]:
    from autoprune.manager.finishing import REFITS, refit
    from autoprune.standings import SAME_AS
    from autoprune.store import trials

    with store.read() as tx:
        trial = trials.get(tx, experiment.id, number)
        if SAME_AS in trial.metrics:
            trial = trials.get(tx, experiment.id, trial.metrics[SAME_AS])
            note(f"trial {number} has the result of trial {trial.number}, which pruned the same: makes its model")
    folder = out or place.folder(experiment.id) / REFITS / str(number)
    return refit(experiment, config, place, trial, folder, note, epochs=epochs), folder
