"""Every error as RFC 9457 problem JSON, whoever raised it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from autoprune.errors import (
    AutopruneError,
    ConflictError,
    NotFoundError,
    StoreError,
    UsageError,
    did_you_mean,
    nearest,
)
from autoprune.results.models import Model, clean
from autoprune.server.names import UNKNOWN, names

MEDIA_TYPE = "application/problem+json"
_PLACES = {"query": "address", "path": "address", "header": "headers"}
_EXPECTED = {
    "missing": "a value",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "string_type": "text",
    "string_unicode": "text",
    "string_too_long": "at most {max_length} characters",
    "too_long": "at most {max_length} of them",
    "dict_type": "an object",
    "model_attributes_type": "an object",
    UNKNOWN: "nothing of that name",
    "json_invalid": "JSON",
}
"""What may be given, by the kind of pydantic's error."""

_log = logging.getLogger("autoprune.server")


class Invalid(Model):
    """One part of a request that is not as expected."""

    where: str = Field(examples=["query.limit"])
    expected: str = Field(examples=["1000 or less"])


class Problem(Model):
    """What went wrong (RFC 9457)."""

    type: str = Field(default="about:blank", description="Always `about:blank`: the status says it.")
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["experiment digits-300131-k3zq has no trial 7; it has 0 to 6"])
    errors: list[Invalid] | None = Field(default=None, description="With status 422: each part that is wrong.")


RESPONSES = {
    HTTPStatus.BAD_REQUEST: "The Host header is missing.",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong.",
    HTTPStatus.NOT_FOUND: "There is nothing of this id or number.",
    HTTPStatus.MISDIRECTED_REQUEST: "The Host header names another server.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A part of the request is not as expected.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot be read now.",
}


def problem(
    status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, errors: Sequence[Invalid] | None = None
) -> Response:
    model = Problem(title=status.phrase, status=status, detail=clean(detail), errors=list(errors) if errors else None)
    text = json.dumps(model.model_dump(exclude_none=True), ensure_ascii=False)
    return Response(text, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have all errors of the application answered as problems."""
    for kind in (HTTPException, RequestValidationError, AutopruneError):
        app.add_exception_handler(kind, _handle)


def answer_to(request: Request, error: Exception) -> Response:
    """The problem that an error of a request is."""
    match error:
        case HTTPException():
            return _http(error)
        case RequestValidationError():
            return _invalid(request, error)
        case NotFoundError():
            return problem(HTTPStatus.NOT_FOUND, str(error))
        case ConflictError():
            return problem(HTTPStatus.CONFLICT, str(error))
        case UsageError():
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case StoreError():
            _log.error("%s", error)
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be read now", {"Retry-After": "1"})
        case _:
            return unexpected(error)


def unexpected(error: Exception) -> Response:
    """An error nobody foresaw: told in full to the log, and not at all to the client."""
    _log.error("a request failed", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed at this request; its log says how")


async def _handle(request: Request, error: Exception) -> Response:
    return answer_to(request, error)


def _http(error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    detail = str(error.detail)
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = "there is nothing at this address; /api/v1/openapi.json lists what there is"
    return problem(status, detail, error.headers)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    if any(isinstance(each["input"], bytes) for each in found):
        return _unlabelled(request)
    errors = [Invalid(where=".".join(map(str, each["loc"])), expected=_expected(each)) for each in found]
    detail = "\n".join(f"{_given(each)}; expected {_expected(each)}{_remedy(request, each)}" for each in found)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def _unlabelled(request: Request) -> Response:
    """Of a body that was not read, since no header says that it is JSON."""
    expected = "JSON, and the header Content-Type: application/json with it"
    given = request.headers.get("content-type", "")[:40]
    detail = f"given a body {f'of the type {given}' if given else 'without a Content-Type'}; expected {expected}"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=[Invalid(where="body", expected=expected)])


def _given(found: Mapping[str, Any]) -> str:
    """What is wrong, by its name, and where it was given."""
    place, *names = map(str, found["loc"])
    where = f"in the {_PLACES.get(place, place)}"
    if found["type"] == "json_invalid":
        return f"given text that is not JSON {where}"
    name = ".".join(names if place == "body" else names[:1])
    if found["type"] == "missing":
        return f"given no {name} {where}" if name else f"given no {place}"
    value = found["input"][:40] if isinstance(found["input"], str) else found["input"]
    if value is None or isinstance(value, str | int | float):
        shown = json.dumps(value)[:50] if place == "body" else repr(value)
        return f"given {f'{name} {shown}'.strip()} {where}"
    if place != "body":
        return f"given {name} {where}"
    kind = "a list" if isinstance(value, list) else "an object"
    return f"given {f'{name} as {kind}' if name else kind} {where}"


def _expected(found: Mapping[str, Any]) -> str:
    """What it may be; in the validator's words where we have none."""
    words = _EXPECTED.get(found["type"])
    if words is None:
        return str(found["msg"]).removeprefix("Input should be ")
    return words.format(**found.get("ctx", {}))


def _remedy(request: Request, found: Mapping[str, Any]) -> str:
    """The nearest of the names that there are, or of the words that are listed, where one is near."""
    if found["type"] == UNKNOWN:
        place, *_, name = map(str, found["loc"])
        valid = names(request, place)
        return f" ({did_you_mean(name[:40], valid)})" if valid else ""
    listed = re.findall(r"'([^']+)'", str(found.get("ctx", {}).get("expected", "")))
    close = nearest(found["input"][:40], listed) if isinstance(found["input"], str) else None
    return f" (did you mean {close}?)" if close else ""
