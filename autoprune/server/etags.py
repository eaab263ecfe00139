"""ETags: a client that has an answer already is told so, in place of getting it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

CACHING = "private, no-cache"
"""Kept by who asked alone, and asked about each time."""


class TaggedRoute(APIRoute):
    """A route whose answers carry the hash of what they say."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def tagged(request: Request) -> Response:
            return tag(request, await answer(request))

        return tagged


def tag(request: Request, response: Response) -> Response:
    """The answer with its ETag, or 304 without a body where the client gives this ETag in If-None-Match."""
    if request.method != "GET" or response.status_code != HTTPStatus.OK or isinstance(response, StreamingResponse):
        return response
    etag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": CACHING}
    if _known(etag, request.headers.getlist("if-none-match")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return response


def _known(etag: str, given: list[str]) -> bool:
    tags = [tag.strip() for line in given for tag in line.split(",")]
    return "*" in tags or etag in (tag.removeprefix("W/") for tag in tags)
