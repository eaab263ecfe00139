"""The server itself."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

import autoprune
from autoprune.results.models import Model
from autoprune.server.api.common import Source

router = APIRouter(tags=["server"])


class Health(Model):
    """The server answers and can read its database."""

    status: str = Field(default="ok", examples=["ok"])


class Version(Model):
    """What is running."""

    version: str = Field(examples=["1.0.0"])
    api: str = Field(default="v1", examples=["v1"])


@router.get("/health", response_description="It can.")
def get_health(results: Source) -> Health:
    """Whether the server can read its database."""
    results.check()
    return Health()


@router.get("/version", response_description="The versions.")
def get_version() -> Version:
    """The version of autoprune and of the API."""
    return Version(version=autoprune.__version__)
