"""The application: routes, errors, the guard around them, and their OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

import autoprune
from autoprune.results import Results
from autoprune.server import problems, routes
from autoprune.server.access import LOGIN, Access, Guard
from autoprune.store import Workspace

_DESCRIPTION = """The experiments of a workspace, read-only.

Lists come in pages: `{"items": [...], "next": CURSOR}`. Give `next` as `cursor` to get what follows; at the end it is
null. Errors are RFC 9457 problems. Times are RFC 3339 in UTC. Numbers that are not finite are null."""


class _Application(FastAPI):
    """FastAPI whose OpenAPI document gives errors the media type they have."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    for status, response in operation["responses"].items():
                        if status >= "400":
                            response["content"] = {problems.MEDIA_TYPE: response["content"].pop("application/json")}
        assert self.openapi_schema is not None
        return self.openapi_schema


def create_app(workspace: Workspace, token: str, hosts: Iterable[str]) -> FastAPI:
    """The API over a workspace that exists. `hosts` are the names (`host:port`) it answers to."""
    store = workspace.open()
    access = Access(token, hosts)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = _Application(
        title="autoprune",
        version=autoprune.__version__,
        description=_DESCRIPTION,
        openapi_url=f"{routes.PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.results = Results(workspace, store)
    app.include_router(routes.router)
    app.add_api_route(LOGIN, _login(access), include_in_schema=False)
    app.add_middleware(Guard, access=access)
    problems.install(app)
    return app


def _login(access: Access) -> Callable[[Request], Awaitable[Response]]:
    async def login(request: Request) -> Response:
        """Where the printed link leads: the token moves from the address into a cookie."""
        response = RedirectResponse(f"{routes.PREFIX}/experiments", status_code=303)
        if token := request.query_params.get("token"):
            response.set_cookie(access.cookie, token, httponly=True, samesite="strict")
        return response

    return login
