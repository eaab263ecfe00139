"""`autoprune trial log`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
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
    from autoprune.results.logs import Log, Piece, Stream

_POLL_SECONDS = 0.1
_LONG = 100_000_000


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
        stream: Stream = "stderr" if stderr else "stdout"
        log = results.log(experiment, number, stream, chosen)
        if as_json:
            text = b"".join(piece.data for piece in _pieces(log)).decode(errors="replace")
            print_json({"number": number, "attempt": chosen, "stream": stream, "text": text})
        elif follow:
            _follow(log, lambda: _runs(results, experiment, number, chosen))
        else:
            _warn(log)
            _copy(log)


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


def _follow(log: Log, runs: Callable[[], bool]) -> None:
    offset = 0
    while True:
        last = not runs()
        offset = _copy(log, offset)
        if last:
            return
        time.sleep(_POLL_SECONDS)


def _warn(log: Log) -> None:
    """Say how much is to come where that is more than anyone reads."""
    from rich.filesize import decimal

    if log.size > _LONG:
        note(f"trial {log.number} wrote {decimal(log.size)} to its {log.stream}")


def _copy(log: Log, offset: int = 0) -> int:
    """Print its bytes from an offset as they are; returns the offset of its end."""
    for piece in _pieces(log, offset):
        sys.stdout.buffer.write(piece.data)
        offset = piece.end
    sys.stdout.buffer.flush()
    return offset


def _pieces(log: Log, start: int = 0) -> Iterator[Piece]:
    """All that is there from `start` on."""
    while (piece := log.read(start)).data:
        yield piece
        start = piece.end
