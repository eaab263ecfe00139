"""`autoprune status`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, id_argument, json_option, print_json, reading, workspace_option

if TYPE_CHECKING:
    from autoprune.results.models import ExperimentDetail, Limits


@click.command(epilog=examples("autoprune status", "autoprune status digits --json | jq .state"))
@id_argument
@json_option
@workspace_option
def command(id: str | None, as_json: bool, workspace: Path | None) -> None:
    """Show where the experiment ID stands: an id or the beginning of one; by default the newest."""
    with reading(workspace) as results:
        experiment = results.experiment(id)
        folder = results.workspace.folder(experiment.id)
        course = results.best_so_far(experiment.id)
    if as_json:
        print_json(experiment)
    else:
        _show(experiment, folder, course)


def _show(experiment: ExperimentDetail, folder: Path, course: list[float]) -> None:
    from autoprune.cli._progress import clock, number, shorten, sparkline
    from autoprune.cli._tables import print_fields
    from autoprune.cli._trials import repeated

    best = experiment.best
    counts = ", ".join(f"{count} {state.value}" for state, count in sorted(experiment.trials.items()))
    print_fields(
        [
            ("experiment", experiment.id),
            ("name", experiment.name),
            ("state", experiment.state.value),
            ("message", experiment.message),
            ("trials", counts or "none"),
            ("best", f"trial {best.number}: {number(best.value)}" if best else "none"),
            ("repeated", repeated(best) if best else ""),
            ("so far", sparkline(course, sys.stdout.encoding)),
            ("parameters", shorten(best.parameters, 300) if best else ""),
            ("limits", _limits(experiment.limits)),
            ("created", experiment.created),
            ("ended", experiment.ended or ""),
            ("ran for", clock(experiment.duration)),
            ("folder", str(folder)),
        ]
    )


def _limits(limits: Limits) -> str:
    from autoprune.cli._progress import clock

    parts = [
        f"{limits.maxTrialNumber} trials" if limits.maxTrialNumber else "",
        f"{clock(limits.maxExperimentDuration)} in all" if limits.maxExperimentDuration else "",
        f"{clock(limits.maxTrialDuration)} a trial" if limits.maxTrialDuration else "",
        f"{limits.trialConcurrency} at a time" if limits.trialConcurrency else "",
    ]
    return ", ".join(part for part in parts if part)
