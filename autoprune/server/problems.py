"""Every error as RFC 9457 problem JSON, whoever raised it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from autoprune.errors import AutopruneError, ConflictError, NotFoundError, StoreError, UsageError
from autoprune.results.models import Model, clean

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("autoprune.server")


class Invalid(Model):
    """One part of a request that is not as expected."""

    where: str = Field(examples=["query.limit"])
    expected: str = Field(examples=["Input should be less than or equal to 1000"])


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


def answer_to(error: Exception) -> Response:
    """The problem that an error is."""
    match error:
        case HTTPException():
            return _http(error)
        case RequestValidationError():
            return _invalid(error)
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


async def _handle(_request: Request, error: Exception) -> Response:
    return answer_to(error)


def _http(error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    detail = str(error.detail)
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = "there is nothing at this address; /api/v1/openapi.json lists what there is"
    return problem(status, detail, error.headers)


def _invalid(error: RequestValidationError) -> Response:
    errors = [
        Invalid(where=".".join(str(part) for part in found["loc"]), expected=found["msg"]) for found in error.errors()
    ]
    detail = "; ".join(f"{item.where}: {item.expected}" for item in errors)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)
