"""`autoprune best`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, id_argument, json_option, note, print_json, reading, workspace_option


@click.command(epilog=examples("autoprune best", "autoprune best digits --json | jq .parameters"))
@id_argument
@json_option
@workspace_option
def command(id: str | None, as_json: bool, workspace: Path | None) -> None:
    """Show the best trial of the experiment ID: an id or the beginning of one; by default the newest.

    The best trial is the succeeded one with the highest value, or the lowest where the experiment minimises. Where
    none has succeeded, --json prints null.
    """
    from autoprune.cli._trials import show_trial
    from autoprune.results import NoBestError

    with reading(workspace) as results:
        try:
            best = results.best(id)
        except NoBestError as error:
            note(str(error))
            if as_json:
                print_json(None)
            return
        if as_json:
            print_json(best)
            return
        experiment = results.resolve(id)
        show_trial(results.trial(experiment, best.number), results.workspace.trial(experiment, best.number))
