"""`autoprune run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, note
from autoprune.cli._drive import Show, drive_and_show, run_options

if TYPE_CHECKING:
    from autoprune.server.door import Door


@click.command(
    epilog=examples(
        "autoprune run config.yml",
        "autoprune run config.yml --max-trials 50 --concurrency 4",
        "autoprune run config.yml --set tuner.classArgs.seed=1 --set trialGpuNumber=0",
        "autoprune run config.yml --detach",
    )
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--max-trials", type=click.IntRange(min=1), metavar="N", help="Stop after N trials.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Run N trials at a time.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field (v2 name).")
@run_options
def command(
    config: Path,
    max_trials: int | None,
    concurrency: int | None,
    overrides: tuple[str, ...],
    detach: bool,
    show: Show,
    door: Door | None,
    workspace: Path | None,
) -> int:
    """Run the experiment that CONFIG describes, to its end.

    Every run is a new experiment in the workspace. Its results survive whatever happens to this process:
    `autoprune resume ID` goes on.

    \b
    Exit codes: 0 a limit was reached, the search is exhausted, or `autoprune stop`; 1 no trial succeeded, or the
    trials or the tuner cannot run; 2 the configuration is wrong; 3 no trial keeps to the constraints; 75 another
    process runs it; 130 Ctrl-C.
    """
    from autoprune.config import load
    from autoprune.manager.launch import check, new_experiment
    from autoprune.store import find_workspace

    shortcuts = {"maxTrialNumber": max_trials, "trialConcurrency": concurrency}
    given = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    loaded = load(config, [*overrides, *given])
    for text in loaded.notes:
        note(f"note: {text}")
    check(loaded.config)
    place = find_workspace(workspace, loaded.config.experiment_working_directory)
    store = place.create()
    try:
        experiment = new_experiment(loaded.config, loaded.source, place, store)
        return drive_and_show(experiment, place, store, show, door, resumed=False, detach=detach)
    finally:
        store.close()
