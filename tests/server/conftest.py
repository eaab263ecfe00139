"""Clients of an application over the sample workspace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgi_client import HOST, TOKEN, Client
from sample_workspace import Sample

from autoprune.server.app import create_app


@pytest.fixture
def stranger(sample: Sample) -> Iterator[Client]:
    """One that has no token."""
    client = Client(create_app(sample.workspace, TOKEN, [HOST, "localhost:8080", "[::1]:8080"]))
    yield client
    client.close()


@pytest.fixture
def client(stranger: Client) -> Client:
    """One that gives the token."""
    stranger.headers["Authorization"] = f"Bearer {TOKEN}"
    return stranger
