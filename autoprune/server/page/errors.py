"""Errors of the page's own addresses, as pages: the status and the detail are those of the API's problem."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from autoprune.errors import AutopruneError
from autoprune.server.page.rendering import render
from autoprune.server.problems import answer_to

_TITLES = {HTTPStatus.UNPROCESSABLE_ENTITY: "Not as expected"}
"""Where the status in words says little to a reader."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """An address whose errors are pages."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (AutopruneError, HTTPException, RequestValidationError) as error:
                return _page(request, answer_to(request, error))

        return answer


def install(app: FastAPI) -> None:
    """Have a browser that asks for what is not there, anywhere but in the API, answered with a page."""
    app.add_exception_handler(HTTPException, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    problem = answer_to(request, error)
    looked_at = not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
    return _page(request, problem) if looked_at else problem


def _page(request: Request, problem: Response) -> Response:
    told = json.loads(bytes(problem.body))
    status = HTTPStatus(problem.status_code)
    return render(request, "error.html", status, title=_TITLES.get(status, told["title"]), detail=told["detail"])
