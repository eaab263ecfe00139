"""What may be given by name in a request: the API's own description says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

UNKNOWN = "extra_forbidden"
"""Pydantic's word for what is given under a name that nothing has."""


async def refuse_unknown(request: Request) -> None:
    """Raises RequestValidationError for an address with a parameter that it does not take."""
    given = request.query_params
    unknown = sorted(set(given) - set(names(request, "query"))) if given else []
    if unknown:
        raise RequestValidationError(
            [{"type": UNKNOWN, "loc": ("query", name), "input": given[name]} for name in unknown]
        )


def names(request: Request, place: str) -> Sequence[str]:
    """The names that a request may give in its `query` or `body`; none outside the API."""
    document = request.app.openapi()
    called = getattr(request.scope.get("route"), "name", None)
    operations = (operation for path in document["paths"].values() for operation in path.values())
    operation: dict[str, Any] = next((each for each in operations if each["operationId"] == called), {})
    if place == "body":
        return list(_schema_of_body(document, operation).get("properties", {}))
    return [each["name"] for each in operation.get("parameters", ()) if each["in"] == place]


def _schema_of_body(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    if "requestBody" not in operation:
        return {}
    (content,) = operation["requestBody"]["content"].values()
    schema: dict[str, Any] = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return schema
