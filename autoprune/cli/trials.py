"""`autoprune trials`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import examples, id_argument, json_option, note, print_json, reading, workspace_option
from autoprune.records import TrialState

if TYPE_CHECKING:
    from autoprune.results.models import Trial

_SORTS = [f"{sign}{column}" for column in ("number", "value", "started") for sign in ("", "-")]


@click.command(
    epilog=examples(
        "autoprune trials",
        "autoprune trials digits --state SUCCEEDED --sort -value --limit 10",
        "autoprune trials --json | jq '.items[].parameters'",
    )
)
@id_argument
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in TrialState], case_sensitive=False),
    metavar="STATE",
    help=f"Only trials in this state; may be repeated. One of {', '.join(TrialState)}.",
)
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    default="number",
    metavar="KEY",
    help="By number, value or started; with a - before it, from the largest down.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="How many at most; by default all.")
@click.option(
    "--cursor", metavar="CURSOR", help="Go on where an earlier --limit ended: the `next` that --json printed."
)
@json_option
@workspace_option
def command(
    id: str | None,
    states: tuple[str, ...],
    sort: str,
    limit: int | None,
    cursor: str | None,
    as_json: bool,
    workspace: Path | None,
) -> None:
    """List the trials of the experiment ID: an id or the beginning of one; by default the newest."""
    from autoprune.results.pages import whole

    chosen = [TrialState(state) for state in states]
    with reading(workspace) as results:
        id = results.resolve(id)
        page = whole(
            lambda size, at: results.trials(id, states=chosen, sort=sort, limit=size, cursor=at),
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        print_json(page)
        return
    _show(page.items)
    if page.next:
        note(f"there are more; they follow with --cursor {page.next}")


def _show(trials: list[Trial]) -> None:
    from autoprune.cli._progress import number, shorten
    from autoprune.cli._tables import print_table
    from autoprune.results.shapes import came_from

    columns = {
        "number": [str(trial.number) for trial in trials],
        "state": [trial.state.value for trial in trials],
        "value": [number(trial.value) for trial in trials],
        "seconds": [number(trial.duration) for trial in trials],
        "from": [came_from(trial) for trial in trials],
        "feasible": ["" if trial.feasible else "no" for trial in trials],
        "parameters": [shorten(trial.parameters, 200) for trial in trials],
    }
    for optional in ("from", "feasible"):
        if not any(columns[optional]):
            del columns[optional]
    rows = list(zip(*columns.values(), strict=True))
    print_table(list(columns), rows, numeric=("number", "value", "seconds"))
