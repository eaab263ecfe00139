"""`autoprune best`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, id_argument, json_option, note, print_json, reading, workspace_option

if TYPE_CHECKING:
    from autoprune.results import Results
    from autoprune.results.models import Best, ExperimentDetail, Page, ParetoTrial


@click.command(
    epilog=examples("autoprune best", "autoprune best digits --json | jq .parameters", "autoprune best --top 5")
)
@id_argument
@click.option("--top", type=click.IntRange(1, 1000), metavar="N", help="List the N best trials, the best first.")
@json_option
@workspace_option
def command(id: str | None, top: int | None, as_json: bool, workspace: Path | None) -> None:
    """Show the best trial of the experiment ID: an id or the beginning of one; by default the newest.

    The best trial is the succeeded one with the highest value, or the lowest where the experiment minimises. Where the
    leaders ran again with fresh seeds, the mean of these repeats counts instead. A trial that breaks a constraint is
    never the best. Where there is none, --json prints null. Of an experiment with several objectives, all trials are
    listed that no other beats in every one of them.
    """
    from autoprune.results.leaders import objectives

    with reading(workspace) as results:
        experiment = results.experiment(id)
        several = len(objectives(experiment.config)) > 1
        if several and top is not None:
            raise click.UsageError("--top needs one objective to order trials by, and this experiment has several")
        if several:
            _show_front(results.pareto(experiment.id), as_json)
        elif top is not None:
            _show_top(results.top(experiment.id, count=top), as_json)
        else:
            _show_best(results, experiment, as_json)


def _show_best(results: Results, experiment: ExperimentDetail, as_json: bool) -> None:
    from autoprune.cli._trials import repeated, show_trial
    from autoprune.records import TrialState
    from autoprune.results.leaders import no_best

    best = experiment.best
    if best is None:
        note(no_best(experiment.id, experiment.trials.get(TrialState.SUCCEEDED, 0)))
    if as_json:
        print_json(best)
    elif best is not None:
        folder = results.workspace.trial(experiment.id, best.number)
        show_trial(results.trial(experiment.id, best.number), folder, repeated(best))


def _show_top(page: Page[Best], as_json: bool) -> None:
    from autoprune.cli._progress import number, shorten
    from autoprune.cli._tables import print_table

    if as_json:
        print_json(page)
        return
    columns = {
        "number": [str(trial.number) for trial in page.items],
        "value": [number(trial.value) for trial in page.items],
        "mean": [number(trial.mean) for trial in page.items],
        "repeats": [str(trial.repeats) for trial in page.items],
        "parameters": [shorten(trial.parameters, 200) for trial in page.items],
    }
    if not any(trial.repeats for trial in page.items):
        del columns["mean"], columns["repeats"]
    rows = list(zip(*columns.values(), strict=True))
    print_table(list(columns), rows, numeric=("number", "value", "mean", "repeats"))


def _show_front(page: Page[ParetoTrial], as_json: bool) -> None:
    from autoprune.cli._progress import number, shorten
    from autoprune.cli._tables import print_table

    if as_json:
        print_json(page)
        return
    names = list(page.items[0].objectives) if page.items else ["default"]
    rows = [
        (str(trial.number), *(number(trial.objectives[name]) for name in names), shorten(trial.parameters, 200))
        for trial in page.items
    ]
    print_table(("number", *names, "parameters"), rows, numeric=("number", *names))
