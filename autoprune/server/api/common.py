"""What the addresses of the API and of the page have in common: where results come from, and how parts of an address
are read."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

from autoprune.results import MAX_PAGE, Results

LARGEST_NUMBER = 2**31 - 1


async def _results(request: Request) -> Results:
    results = request.app.state.results
    assert isinstance(results, Results)
    return results


Source = Annotated[Results, Depends(_results)]
Id = Annotated[str, Path(max_length=200, description="An experiment's id, or the beginning of one.")]
TrialNumber = Annotated[int, Path(ge=0, le=LARGEST_NUMBER, description="A trial's number.", examples=[7])]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many items at most.", examples=[100])]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")]

UNCHANGED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.NOT_MODIFIED.value: {"description": "If-None-Match names the ETag of this very answer."}
}
