"""The API's description of itself: complete, and no other than the one that is kept beside this file.

A change of the API shows there. To keep the new one: AUTOPRUNE_KEEP_OPENAPI=1 pytest tests/server/test_openapi.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from asgi_client import Client
from fastapi.routing import APIRoute

from autoprune.server import api

KEPT = Path(__file__).parent / "openapi.json"


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def properties(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in document["components"]["schemas"].items():
        for key, value in schema.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_it_is_the_one_that_is_kept(document: dict[str, Any]) -> None:
    document["info"]["version"] = "VERSION"
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    if "AUTOPRUNE_KEEP_OPENAPI" in os.environ:
        KEPT.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(KEPT.read_text(encoding="utf-8"))


def test_operations_have_the_names_of_their_functions(document: dict[str, Any]) -> None:
    modules = [import_module(found.name) for found in iter_modules(api.__path__, f"{api.__name__}.")]
    routes = [route for module in modules for route in getattr(module, "router", api.router).routes]
    names = {route.name for route in routes if isinstance(route, APIRoute)}
    assert {operation["operationId"] for _, operation in operations(document)} == names


def test_operations_are_named_once_each(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_operations_say_what_they_do_and_who_may_ask(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for where, operation in operations(document):
        assert operation["description"], where
        assert operation["tags"], where
        assert operation["security"] == [{"HTTPBearer": []}], where


def test_answers_are_described_and_errors_are_problems(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        for status, response in operation["responses"].items():
            assert response["description"] not in ("", "Successful Response"), f"{where} {status}"
            content = list(response.get("content", {}))
            if status >= "400":
                assert content == ["application/problem+json"], f"{where} {status}"
            elif status == "304":
                assert content == []
            else:
                assert content
        assert {"400", "401", "404", "421", "422", "503"} <= set(operation["responses"]), where


def test_parameters_are_described(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{where} {parameter['name']}"


def test_answers_and_bodies_have_examples(document: dict[str, Any]) -> None:
    """Each field of a model has one, or says what it is, or is a model or a list of them."""
    for where, schema in properties(document):
        inner = schema.get("items", schema)
        assert {"examples", "description", "$ref"} & {*schema, *inner}, where
    for where, operation in operations(document):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                assert "example" in content or "$ref" in content["schema"], f"{where} {status} {media_type}"


def test_no_model_of_the_framework_shows(document: dict[str, Any]) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])
