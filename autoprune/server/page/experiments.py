"""The first page: the experiments of the workspace."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from autoprune.server.api.common import Cursor, Source
from autoprune.server.page.errors import PageRoute
from autoprune.server.page.progress import progress_of
from autoprune.server.page.rendering import render

_PAGE = 50

router = APIRouter(route_class=PageRoute)


@router.get("/")
def experiments_page(request: Request, results: Source, cursor: Cursor = None) -> Response:
    page = results.experiments(limit=_PAGE, cursor=cursor)
    return render(request, "experiments.html", page=page, progress_of=progress_of)
