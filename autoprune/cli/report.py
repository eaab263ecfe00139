"""`autoprune report`."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.cli._common import examples, id_argument, note, reading, workspace_option
from autoprune.cli._files import replacing


@click.command(epilog=examples("autoprune report", "autoprune report digits --out report.html"))
@id_argument
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="By default ID.html in the current folder.",
)
@workspace_option
def command(id: str | None, out: Path | None, workspace: Path | None) -> None:
    """Write a report of the experiment ID: an id or the beginning of one; by default the newest.

    It is one HTML file, which opens in any browser without a network: what was searched, the best trials with their
    parameters, the model of a task with its figures, and all charts. A FILE that exists is replaced.
    """
    from autoprune.plots.report import report

    with reading(workspace) as results:
        experiment = results.resolve(id)
        text = report(results, experiment)
    file = out or Path(f"{experiment}.html")
    with replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")
    note(f"wrote {file}")
