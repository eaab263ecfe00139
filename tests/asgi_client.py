"""A client that hands requests to the application itself, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI

TOKEN = "right-token-" + "x" * 31
HOST = "127.0.0.1:8080"


class Client:
    """Keeps cookies as a browser does, and follows no redirects."""

    def __init__(self, app: FastAPI) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._app = app
        self._client = httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}")
        self.headers = self._client.headers

    def request(self, method: str, address: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._client.request(method, address, **options))

    def get(self, address: str, **options: Any) -> httpx.Response:
        return self.request("GET", address, **options)

    def close(self) -> None:
        asyncio.run(self._client.aclose())
        self._app.state.results.store.close()
