"""What a trial wrote, in pieces."""

from __future__ import annotations

import re
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from autoprune.results.logs import Log, Piece
from autoprune.server.api.common import Id, Source, TrialNumber
from autoprune.server.problems import Problem

_RANGE = re.compile(r"bytes=(?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})?|-(?P<count>[0-9]{1,18}))")
_TEXT = {"text/plain": {"schema": {"type": "string"}, "example": "epoch 1: accuracy 0.93\n"}}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer"}}


_HEADERS = {
    "Log-Attempt": _header("The attempt that wrote this."),
    "Log-Start": _header("Where in the log this begins, in bytes."),
    "Log-End": _header("Where it ends: ask for `Range: bytes=END-` to go on."),
    "Log-Size": _header("How long the log is by now."),
}


class StreamName(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


Attempt = Annotated[int | None, Query(ge=0, le=2**31 - 1, description="Which attempt, from 0; by default the last.")]
Tail = Annotated[int | None, Query(ge=1, le=100_000, description="Only the last so many lines.", examples=[100])]
Range = Annotated[
    str | None,
    Header(description="One range of bytes: `bytes=0-999`, `bytes=1000-` or `bytes=-1000`.", examples=["bytes=-1000"]),
]

router = APIRouter(prefix="/experiments/{id}/trials/{number}/logs", tags=["trials"])


@router.get(
    "/{stream}",
    response_class=Response,
    responses={
        200: {"description": "The beginning, or the tail, as text.", "content": _TEXT, "headers": _HEADERS},
        206: {"description": "The bytes of the range, as they are.", "content": _TEXT, "headers": _HEADERS},
        416: {"description": "The range begins behind the end of the log, as it is now.", "model": Problem},
    },
)
def get_log(
    results: Source,
    id: Id,
    number: TrialNumber,
    stream: Annotated[StreamName, Path(description="What the trial wrote to.")],
    attempt: Attempt = None,
    tail: Tail = None,
    range: Range = None,
) -> Response:
    """What a trial wrote, 1 MiB at most at once; what is not UTF-8 is replaced, except in a range.

    A range of another form is ignored, as HTTP has it, and so is one beside `tail`. To follow a log, ask for what is
    behind `Log-End`; 416 says that there is nothing yet.
    """
    log = results.log(id, number, stream.value, attempt)
    if tail is None and (wanted := _wanted(range or "")):
        return _partial(log, log.last(wanted[1]) if wanted[0] is None else log.read(*wanted))
    piece = log.whole(log.read() if tail is None else log.tail(tail))
    return Response(piece.text, headers=_told(log, piece), media_type="text/plain")


def _wanted(range: str) -> tuple[int, int | None] | tuple[None, int] | None:
    """From where to before where; without a start, how many bytes from the end; None of a range of another form."""
    found = _RANGE.fullmatch(range)
    if found is None:
        return None
    if found["count"]:
        return None, int(found["count"])
    start, end = int(found["first"]), int(found["last"]) + 1 if found["last"] else None
    return None if end is not None and end <= start else (start, end)


def _partial(log: Log, piece: Piece) -> Response:
    if not piece.data:
        detail = f"the log has {piece.size} bytes, none of them in this range"
        headers = {"Content-Range": f"bytes */{piece.size}", **_told(log, piece)}
        raise HTTPException(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, detail, headers)
    headers = {"Content-Range": f"bytes {piece.start}-{piece.end - 1}/{piece.size}", **_told(log, piece)}
    return Response(piece.data, HTTPStatus.PARTIAL_CONTENT, headers, "text/plain; charset=utf-8")


def _told(log: Log, piece: Piece) -> dict[str, str]:
    numbers = {"Attempt": log.attempt, "Start": piece.start, "End": piece.end, "Size": piece.size}
    return {"Accept-Ranges": "bytes", **{f"Log-{name}": str(number) for name, number in numbers.items()}}
