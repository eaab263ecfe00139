"""What a trial wrote: its end on the page of the trial, all of it here, a range at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autoprune.errors import NotFoundError
from autoprune.results import Results
from autoprune.results.logs import Log, Stream
from autoprune.server.api.common import Id, Source, TrialNumber
from autoprune.server.page import terminal
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.rendering import render

RANGE = 64 * 1024
_START = Annotated[int, Query(ge=0, le=2**53)]
_ATTEMPT = Annotated[int | None, Query(ge=0, le=2**31 - 1)]

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Part:
    """The bytes from `start` to before `end` of what an attempt wrote, `size` in all, as a terminal shows them.

    `line` is the last one, which may yet be continued or written over: whoever follows the log asks from `resume` on,
    where it begins, and puts what then comes in its place. Nothing more comes once the attempt is `over`.
    """

    attempt: int
    stream: Stream
    start: int
    end: int
    size: int
    text: str
    line: str
    resume: int
    over: bool


def tail(results: Results, id: str, number: int, stream: Stream) -> Part | str:
    """The end of what the last attempt wrote; where it cannot be read, a sentence that says so."""
    log = results.log(id, number, stream)
    try:
        return _part(log, max(0, log.size - RANGE))
    except NotFoundError as error:
        return str(error)


def _part(log: Log, start: int) -> Part:
    """From the character at `start` on, as much as is shown at once."""
    piece = log.read(log.boundary(start), start + RANGE)
    whole = log.whole(piece)
    line, resume = terminal.last_line(whole.data)
    if not resume and piece.end < piece.size:
        line = resume = len(whole.data)  # A line longer than a range; the next range goes on with it.
    text, last = (terminal.shown(part.decode(errors="replace")) for part in (whole.data[:line], whole.data[line:]))
    return Part(log.attempt, log.stream, whole.start, whole.end, whole.size, text, last, whole.start + resume, log.over)


@router.get("/experiments/{id}/trials/{number}/logs/{stream}.json")
def get_log(
    results: Source, id: Id, number: TrialNumber, stream: Stream, start: _START = 0, attempt: _ATTEMPT = None
) -> Part:
    """What was written from `start` on, for a page that follows it."""
    log = results.log(id, number, stream, attempt)
    return _part(log, start)


@router.get("/experiments/{id}/trials/{number}/logs/{stream}")
def log_page(
    request: Request,
    results: Source,
    id: Id,
    number: TrialNumber,
    stream: Stream,
    start: _START = 0,
    attempt: _ATTEMPT = None,
) -> Response:
    experiment = results.experiment(id)
    log = results.log(experiment.id, number, stream, attempt)
    return render(
        request,
        "log.html",
        tab="Trials",
        experiment=experiment,
        trial=results.trial(experiment.id, number),
        log=_part(log, start),
        range=RANGE,
        command="",
    )
