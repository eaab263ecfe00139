"""`autoprune trial log`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoprune.cli._common import (
    examples,
    experiment_option,
    json_option,
    note,
    number_argument,
    print_json,
    reading,
    workspace_option,
)
from autoprune.errors import NotFoundError

if TYPE_CHECKING:
    from autoprune.results import Results

_POLL_SECONDS = 0.1
_CHUNK = 1 << 20


@click.command(epilog=examples("autoprune trial log 3", "autoprune trial log 3 --stderr --follow"))
@number_argument
@experiment_option
@click.option("--stderr", is_flag=True, help="What it wrote to standard error, in place of standard output.")
@click.option("--attempt", type=click.IntRange(min=0), help="Which attempt, from 0; by default the last.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the attempt ends.")
@json_option
@workspace_option
def command(
    number: int, id: str | None, stderr: bool, attempt: int | None, follow: bool, as_json: bool, workspace: Path | None
) -> None:
    """Print what trial NUMBER wrote."""
    if follow and as_json:
        raise click.UsageError("--json prints one object, so it cannot --follow")
    with reading(workspace) as results:
        experiment = results.resolve(id)
        chosen = _attempt(results, experiment, number, attempt, wait=follow)
        if chosen is None:
            note(f"trial {number} has not started")
            return
        stream = "stderr" if stderr else "stdout"
        path = results.workspace.attempt(experiment, number, chosen) / stream
        if as_json:
            text = path.read_text(errors="replace") if path.exists() else ""
            print_json({"number": number, "attempt": chosen, "stream": stream, "text": text})
        elif follow:
            _follow(path, lambda: _runs(results, experiment, number, chosen))
        else:
            _copy(path, 0)


def _attempt(results: Results, experiment: str, number: int, attempt: int | None, *, wait: bool) -> int | None:
    """The attempt asked for, or the last; None where the trial has none and is not going to be waited for."""
    while True:
        trial = results.trial(experiment, number)
        if attempt is not None and attempt < trial.attempts:
            return attempt
        if attempt is None and trial.attempts:
            return trial.attempts - 1
        if not (wait and results.workspace.locked(experiment) and not trial.state.finished):
            if attempt is None:
                return None
            raise NotFoundError(f"trial {number} has no attempt {attempt}; it has been started {trial.attempts} times")
        time.sleep(_POLL_SECONDS)


def _runs(results: Results, experiment: str, number: int, attempt: int) -> bool:
    runs = results.trial(experiment, number).runs
    return runs[attempt].ended is None and results.workspace.locked(experiment)


def _follow(path: Path, runs: Callable[[], bool]) -> None:
    offset = 0
    while True:
        last = not runs()
        offset = _copy(path, offset)
        if last:
            return
        time.sleep(_POLL_SECONDS)


def _copy(path: Path, offset: int) -> int:
    """Print the file's bytes from an offset as they are; returns the offset of its end."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                sys.stdout.buffer.write(chunk)
                offset += len(chunk)
    except FileNotFoundError:
        return offset
    sys.stdout.buffer.flush()
    return offset
