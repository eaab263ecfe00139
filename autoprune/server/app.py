"""The application: routes, errors, the guard around them, and their OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

import autoprune
from autoprune.results import Results
from autoprune.server import api, problems
from autoprune.server.access import Access
from autoprune.server.guard import Guard
from autoprune.server.live import Hub
from autoprune.server.page import errors
from autoprune.server.page import router as page
from autoprune.store import Workspace

_PATIENCE = 5.0
"""Seconds that a request waits for the database before it is told to come again."""
_DESCRIPTION = """The experiments of a workspace: their results, and commands for those that run.

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
                            (body,) = response["content"].values()
                            response["content"] = {problems.MEDIA_TYPE: body}
        assert self.openapi_schema is not None
        return self.openapi_schema


def create_app(workspace: Workspace, token: str, hosts: Iterable[str]) -> FastAPI:
    """The API over a workspace that exists. `hosts` are the names (`host:port`) it answers to."""
    store = workspace.open().patient(_PATIENCE)
    access = Access(token, hosts)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = _Application(
        title="autoprune",
        version=autoprune.__version__,
        description=_DESCRIPTION,
        openapi_url=f"{api.PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.results = Results(workspace, store)
    app.state.access = access
    app.state.hub = Hub(store)
    app.include_router(api.router)
    app.include_router(page)
    app.add_middleware(Guard, access=access)
    problems.install(app)
    errors.install(app)
    return app
