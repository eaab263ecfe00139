"""`autoprune trial show`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import (
    examples,
    experiment_option,
    json_option,
    number_argument,
    print_json,
    reading,
    workspace_option,
)


@click.command(epilog=examples("autoprune trial show 3", "autoprune trial show 3 -e digits --json | jq .metrics"))
@number_argument
@experiment_option
@json_option
@workspace_option
def command(number: int, id: str | None, as_json: bool, workspace: Path | None) -> None:
    """Show trial NUMBER: its parameters, metrics, attempts and folder."""
    from autoprune.cli._trials import show_trial

    with reading(workspace) as results:
        experiment = results.resolve(id)
        trial = results.trial(experiment, number)
        folder = results.workspace.trial(experiment, number)
    if as_json:
        print_json({**trial.model_dump(mode="json"), "folder": str(folder)})
    else:
        show_trial(trial, folder)
