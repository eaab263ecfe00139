"""`autoprune trial enqueue`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._change import change
from autoprune.cli._common import examples, id_argument, opened, workspace_option

if TYPE_CHECKING:
    from autoprune.records import JSON


@click.command(
    epilog=examples(
        "autoprune trial enqueue --parameters '{\"lr\": 0.01}'",
        "autoprune trial enqueue digits --parameters allocation.json",
    )
)
@id_argument
@click.option(
    "--parameters",
    required=True,
    metavar="FILE|JSON",
    help="A file, YAML or JSON, or the JSON itself, nested as the search space is.",
)
@workspace_option
def command(id: str | None, parameters: str, workspace: Path | None) -> int:
    """Have the experiment ID run a trial with given parameters, next: an id or the beginning of one; by default the
    newest.

    They must be of the experiment's search space. The trial counts against maxTrialNumber, and the tuner learns from
    it, as from any other. Where the experiment does not run, `autoprune resume ID` runs the trial.
    """
    given = _read(parameters)
    with opened(workspace) as (place, store):
        change(
            place,
            store,
            id,
            "enqueue",
            {"parameters": given},
            lambda id, number: f"trial {number} of {id} has these parameters",
        )
    return 0


def _read(given: str) -> dict[str, JSON]:
    """The parameters in a file, or in the argument itself."""
    from autoprune.document import Table, describe, parse, plain, read
    from autoprune.errors import ConfigError, Problem

    here = given.lstrip().startswith("{")
    node, problems = parse(given, "--parameters", json=True) if here else read(Path(given))
    if not isinstance(node, Table):
        problems.append(Problem("", describe(node), "a table of parameters", node.mark))
    if problems:
        raise ConfigError(problems)
    table: dict[str, JSON] = plain(node)
    return table
