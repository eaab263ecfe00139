"""Whole experiments as files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, TextIO

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from autoprune.results import Results, write_csv, write_json
from autoprune.server.api.common import Id, Source

_CHUNK = 1 << 16
_IN_MEMORY = 1 << 20


class Format(StrEnum):
    """`csv` is a row for each trial, `json` is everything, for `autoprune import`."""

    CSV = "csv"
    JSON = "json"


_MEDIA_TYPES = {Format.CSV: "text/csv; charset=utf-8", Format.JSON: "application/json"}
_WRITERS: Mapping[Format, Callable[[Results, str | None, TextIO], None]] = {
    Format.CSV: write_csv,
    Format.JSON: write_json,
}
_CONTENT: dict[str, Any] = {
    "application/json": {"schema": {"type": "object"}, "example": {"format": "autoprune-experiment", "version": 1}},
    "text/csv": {"schema": {"type": "string"}, "example": "number,state,value,duration\n0,SUCCEEDED,0.97,12.5\n"},
}

router = APIRouter(prefix="/experiments/{id}/export", tags=["experiments"])


@router.get(
    "",
    response_class=StreamingResponse,
    responses={200: {"content": _CONTENT, "description": "The file, to be saved under the experiment's id."}},
)
def export_experiment(
    results: Source,
    id: Id,
    format: Annotated[Format, Query(description="`csv`: a row for each trial; `json`: everything.")] = Format.JSON,
) -> StreamingResponse:
    """The whole experiment as a file. No text in a CSV file is one that a spreadsheet would run as a formula."""
    experiment = results.resolve(id)
    with ExitStack() as stack:
        file = stack.enter_context(SpooledTemporaryFile(_IN_MEMORY))
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        _WRITERS[format](results, experiment, text)
        text.detach()
        headers = {
            "Content-Disposition": f'attachment; filename="{experiment}.{format}"',
            "Content-Length": str(file.tell()),
        }
        file.seek(0)
        chunks = _chunks(file, stack.pop_all())
    return StreamingResponse(chunks, headers=headers, media_type=_MEDIA_TYPES[format])


def _chunks(file: SpooledTemporaryFile[bytes], closing: ExitStack) -> Iterator[bytes]:
    with closing:
        while chunk := file.read(_CHUNK):
            yield chunk
