"""Requests to a server: answers become models, problems become the errors they are on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from autoprune.errors import AutopruneError, ConflictError, NotFoundError, StoreError, UsageError
from autoprune.results.models import Page

M = TypeVar("M", bound=BaseModel)

VARIABLE = "AUTOPRUNE_TOKEN"
PREFIX = "/api/v1"
_PAGE = 1000
_ERRORS: Mapping[int, type[AutopruneError]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.SERVICE_UNAVAILABLE: StoreError,
}


class Connection:
    """A server's address, and the token that it takes."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        address = _parse(url)
        token = token or address.params.get("token") or os.environ.get(VARIABLE)
        if not token:
            raise UsageError(f"no token for {address.host}; give it, the whole link that was printed, or {VARIABLE}")
        self.url = str(address.copy_with(path="/", query=None, fragment=None)).rstrip("/")
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=self.url + PREFIX, headers=headers, timeout=timeout, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def get(self, model: type[M], path: str, **query: Any) -> M:
        return self.ask(model, "GET", path, params=query)

    def all(self, model: type[M], path: str, limit: int | None = None, **query: Any) -> list[M]:
        """A whole list, or its first so many items."""
        items: list[M] = []
        while limit is None or len(items) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(items))
            page = self.get(Page[model], path, limit=size, **query)  # type: ignore[valid-type]
            items += page.items
            if page.next is None:
                break
            query["cursor"] = page.next
        return items

    def ask(self, model: type[M], method: str, path: str, **options: Any) -> M:
        answer = self.send(method, path, **options)
        try:
            return model.model_validate_json(answer.content)
        except ValidationError:
            raise AutopruneError(f"{self.url} is no autoprune server, or one of another version") from None

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, if it is a good one."""
        with self.stream(method, path, **options) as answer:
            answer.read()
        return answer

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """The same, while it still comes."""
        try:
            with self._http.stream(method, path, **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer)
                yield answer
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise UnreachableError(f"{self.url} does not answer ({why}); is the server running?") from error


class UnreachableError(AutopruneError):
    """The server is not there, or was cut off."""


def error_of(answer: httpx.Response) -> AutopruneError:
    """A problem as the error that it is."""
    try:
        detail = str(answer.json()["detail"])
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError):
        detail = f"the server answers {answer.status_code} {answer.reason_phrase}"
    usual = UsageError if answer.is_client_error else AutopruneError
    return _ERRORS.get(answer.status_code, usual)(detail)


def _parse(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise UsageError(f"given the address {url!r}; expected one such as http://127.0.0.1:8080")
    return address
