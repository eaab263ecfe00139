"""`autoprune export`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from autoprune.cli._common import examples, id_argument, note, reading, workspace_option
from autoprune.errors import UsageError


@click.command(epilog=examples("autoprune export --format csv -o trials.csv", "autoprune export digits --format json"))
@id_argument
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="By default stdout."
)
@workspace_option
def command(id: str | None, form: str, as_json: bool, output: Path | None, workspace: Path | None) -> None:
    """Write all trials of the experiment ID: an id or the beginning of one; by default the newest.

    CSV has a row per trial: number, state, value, duration in seconds, then param.<path> and metric.<name>. JSON has
    everything: the configuration, and all trials with all their reports.
    """
    from autoprune.results import write_csv, write_json

    write = write_json if as_json or form == "json" else write_csv
    with reading(workspace) as results:
        experiment = results.resolve(id)
        with _opened(output) as file:
            write(results, experiment, file)
    if output is not None:
        note(f"wrote {output}")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Where to write: the file, or stdout."""
    if output is None:
        stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        try:
            yield stdout
            stdout.flush()
        finally:
            stdout.detach()
        return
    try:
        file = output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    with file:
        yield file
