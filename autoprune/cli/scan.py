"""`autoprune scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from autoprune.cli._common import examples, id_argument, json_option, opened, print_json, workspace_option


@click.command(epilog=examples("autoprune scan", "autoprune scan resnet8 --json | jq '.items[0]'"))
@id_argument
@json_option
@workspace_option
def command(id: str | None, as_json: bool, workspace: Path | None) -> None:
    """Show how sensitive the layers are of the model that the experiment ID searches: by default the newest.

    A layer, or a group of layers that share one sparsity, has two rows: the sparsities that were tried, which are in
    whole filters where those go, and below each the value that the task's evaluate gives where this group alone is
    pruned so, and nothing is trained. It was measured before the search, and serves every experiment of the same task.
    --json has the exact sparsities.
    """
    from autoprune.cli._tables import print_heading, print_table
    from autoprune.results.curves import curve_tables, heading

    facts = _facts(id, workspace)
    if as_json:
        print_json({"dense": facts["dense"], "groups": facts["groups"], "items": facts["curves"]})
        return
    for table in curve_tables(facts):
        print_heading(heading(table.pruner, facts))
        print_table(table.columns, table.rows, numeric=table.columns[1:])


def _facts(id: str | None, workspace: Path | None) -> dict[str, Any]:
    from autoprune.errors import UsageError
    from autoprune.results import Results
    from autoprune.store import models

    with opened(workspace) as (place, store):
        experiment = Results(place, store).resolve(id)
        with store.read() as tx:
            facts: dict[str, Any] | None = models.facts(tx, experiment)
    if facts is None or not facts["curves"]:
        why = "its layers were not scanned (search.scan: false)" if facts else "no model of a task is known of it"
        raise UsageError(f"given the experiment {experiment}, but {why}; expected one whose layers were scanned")
    return facts
