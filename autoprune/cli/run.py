"""`autoprune run`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, note, print_json, server_options, top_option, workspace_option
from autoprune.cli._drive import drive_and_show


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
@click.option("--detach", is_flag=True, help="Return at once; the experiment runs on in the background.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per event.")
@click.option("--quiet", is_flag=True, help="Say only how it ended.")
@top_option
@server_options
@workspace_option
def command(
    config: Path,
    max_trials: int | None,
    concurrency: int | None,
    overrides: tuple[str, ...],
    detach: bool,
    as_json: bool,
    quiet: bool,
    top: int,
    port: int,
    host: str,
    token_file: Path | None,
    no_server: bool,
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
    from autoprune.manager.launch import detach as run_detached
    from autoprune.server.door import Door
    from autoprune.store import find_workspace

    door = None if no_server else Door.kept(host, port, token_file)
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
        if not detach:
            return drive_and_show(
                experiment, place, store, resumed=False, as_json=as_json, quiet=quiet, door=door, top=top
            )
        pid = run_detached(experiment, place, door.options if door else ["--no-server"])
        if as_json:
            print_json({"id": experiment.id, "pid": pid, "log": str(place.manager_log(experiment.id))})
        else:
            click.echo(experiment.id)
            note(f"runs in the background as process {pid}; its log is {place.manager_log(experiment.id)}")
            note(f"watch it with: autoprune status {experiment.id}   stop it with: autoprune stop {experiment.id}")
        return 0
    finally:
        store.close()
