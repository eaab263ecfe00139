"""`autoprune export`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from autoprune.cli._common import examples, id_argument, note, reading, workspace_option
from autoprune.cli._files import replacing
from autoprune.errors import UsageError

if TYPE_CHECKING:
    from autoprune.results import Results

_MANY = 500
_OPTUNA_SECONDS = 0.015
"""What Optuna takes to write a trial of a dozen parameters."""


@click.command(
    epilog=examples(
        "autoprune export --format csv -o trials.csv",
        "autoprune export digits --format json",
        "autoprune export digits --format optuna -o study.db",
    )
)
@id_argument
@click.option("--format", "form", type=click.Choice(["csv", "json", "optuna"]), default="csv", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="By default stdout.",
)
@workspace_option
def command(id: str | None, form: str, as_json: bool, output: Path | None, workspace: Path | None) -> None:
    """Write all trials of the experiment ID: an id or the beginning of one; by default the newest.

    CSV has a row per trial: number, state, value, duration in seconds, then (where any trial has one) origin, repeat_of
    and feasible, then param.<path> and metric.<name>. JSON has everything: the configuration, and all trials with all
    their reports. optuna is an SQLite database for Optuna and optuna-dashboard. A FILE that exists is replaced.
    """
    from autoprune.results import write_csv, write_json

    write = write_json if as_json or form == "json" else write_csv
    with reading(workspace) as results:
        experiment = results.resolve(id)
        if form == "optuna" and not as_json:
            _write_database(results, experiment, output)
            return
        with _opened(output) as file:
            write(results, experiment, file)
    if output is not None:
        note(f"wrote {output}")


def _write_database(results: Results, experiment: str, output: Path | None) -> None:
    if output is None:
        raise click.UsageError("--format optuna writes a database, not to stdout; give --output FILE")
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    from autoprune.results.optuna_export import write_optuna

    count = sum(results.experiment(experiment).trials.values())
    if count >= _MANY:
        note(f"writing {count} trials takes Optuna about {count * _OPTUNA_SECONDS:.0f} seconds")
    with replacing(output) as draft:
        try:
            write_optuna(results, experiment, draft)
        except (DBAPIError, StorageInternalError) as error:
            raise UsageError(f"cannot write {output}: {getattr(error.__cause__, 'orig', error.__cause__)}") from None
    note(f"wrote {output}; look at it with: optuna-dashboard sqlite:///{output}")


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
    with replacing(output) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        yield file
