"""`autoprune list`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, json_option, print_json, reading, workspace_option


@click.command(epilog=examples("autoprune list", "autoprune list --json | jq '.items[].id'"))
@json_option
@workspace_option
def command(as_json: bool, workspace: Path | None) -> None:
    """List the experiments of the workspace, the newest first."""
    from autoprune.cli._progress import number
    from autoprune.cli._tables import print_table
    from autoprune.results.pages import whole

    with reading(workspace) as results:
        page = whole(lambda limit, cursor: results.experiments(limit=limit, cursor=cursor))
    if as_json:
        print_json(page)
        return
    rows = [
        (
            experiment.id,
            experiment.state.value,
            str(sum(experiment.trials.values())),
            number(experiment.best.value if experiment.best else None),
            experiment.created,
        )
        for experiment in page.items
    ]
    print_table(("id", "state", "trials", "best", "created"), rows, numeric=("trials", "best"))
