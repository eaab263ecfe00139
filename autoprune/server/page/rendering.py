"""Templates to answers. All text is escaped; a name that a template uses and nobody gave is an error."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

import autoprune
from autoprune.search_space import unescaped
from autoprune.server.page import formats

_TEMPLATES = Path(__file__).with_name("templates")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        formats.figure,
        formats.brief,
        formats.percent,
        formats.duration,
        formats.moment,
        formats.pretty,
        formats.short,
        unescaped,
    ):
        environment.filters[function.__name__] = function
    environment.filters["words"] = formats.words
    environment.filters["since"] = lambda stamp: formats.elapsed_since(stamp, time.time())
    environment.globals["version"] = autoprune.__version__
    return environment


_ENVIRONMENT = _environment()


def render(request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """A page; `csrf` is what its forms send back."""
    text = _ENVIRONMENT.get_template(template).render(csrf=request.app.state.access.csrf, **values)
    return HTMLResponse(text.encode("utf-8", "replace"), status)
