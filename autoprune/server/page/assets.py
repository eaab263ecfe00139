"""The stylesheet, the scripts, and Plotly's script as the installed package has it.

Browsers keep them and ask whether they have changed. Plotly's goes out compressed, which makes it three times smaller.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from plotly import offline
from starlette.responses import Response

from autoprune.errors import NotFoundError
from autoprune.server.etags import TaggedRoute
from autoprune.server.page.errors import PageRoute

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class _AssetRoute(TaggedRoute, PageRoute):
    """An address whose answers carry a tag, and whose errors are pages."""


router = APIRouter(prefix="/static", route_class=_AssetRoute)


@router.get("/plotly.min.js")
def get_plotly(request: Request) -> Response:
    headers = {"Vary": "Accept-Encoding"}
    content = _compressed_plotly()
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=_TYPES[".js"])


@router.get("/{name}")
def get_asset(name: str) -> Response:
    """A file of the page, by its plain name."""
    files = {file.name: file for file in _FOLDER.iterdir() if file.suffix in _TYPES}
    if name not in files:
        raise NotFoundError(f"the page has no file {name[:80]}")
    return Response(files[name].read_bytes(), media_type=_TYPES[files[name].suffix])


@cache
def _compressed_plotly() -> bytes:
    return gzip.compress(offline.get_plotlyjs().encode(), 4)
