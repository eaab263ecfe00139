"""Turns pydantic's errors into problems with a place, in the words of the file.

What was expected is read off the model's JSON Schema, so a field's type and range are worded in one place for every
model: the configuration's own and the arguments of each tuner and assessor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autoprune.document import Items, Node, Scalar, Table, describe
from autoprune.errors import Mark, Problem, did_you_mean
from autoprune.records import JSON

Location = Sequence[str | int]
Locate = Callable[[Location], tuple[Node | None, Mark]]
"""Finds what a model's location names in the file; (None, the nearest place) where the file is silent."""

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
}
_RANGES = {
    "minimum": "of at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "of at most {}",
    "exclusiveMaximum": "below {}",
}


def problems_of(error: ValidationError, model: type[BaseModel], locate: Locate, prefix: str = "") -> list[Problem]:
    """One problem per error; `prefix` is put before each path."""
    schema = model.model_json_schema(by_alias=True)
    names = [field.alias or name for name, field in model.model_fields.items()]
    return [_problem(detail, schema, names, locate, prefix) for detail in error.errors(include_url=False)]


def walk(node: Node, location: Location) -> tuple[Node | None, Mark]:
    """The node at a location below `node`, or None and the mark of the last one on the way."""
    for step in location:
        below: Node | None = None
        if isinstance(node, Table):
            below = node.get(str(step))
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            below = node.items[step]
        if below is None:
            return None, node.mark
        node = below
    return node, node.mark


def _problem(
    detail: ErrorDetails, schema: Mapping[str, JSON], names: Sequence[str], locate: Locate, prefix: str
) -> Problem:
    location = [step for step in detail["loc"] if step != "[key]"]
    node, mark = locate(location)
    path = ".".join([*([prefix] if prefix else []), *map(str, location)])
    context = detail.get("ctx", {})
    given = describe(node) if node is not None else "nothing"
    if detail["type"] == "extra_forbidden":
        return Problem(path, "an unknown name", "a valid one", mark, did_you_mean(str(location[-1]), names))
    if detail["type"] == "refused":
        if node is None and isinstance(detail["input"], Mapping) and detail["input"]:
            names = list(map(str, detail["input"]))
            given, mark = " and ".join(names), locate([*location, names[0]])[1]
        return Problem(path, given, context["expected"], mark, context["remedy"])
    place = _property(schema, location)
    expected = _phrase(place, schema) if place else ""
    if detail["type"] in ("value_error", "assertion_error") or not expected:
        expected = _sentence(detail["msg"])
    return Problem(path, given, expected, mark, _remedy(node, expected))


def _sentence(message: str) -> str:
    """Pydantic's own words, without its openings."""
    for opening in ("Input should be ", "Value error, ", "Assertion failed, "):
        message = message.removeprefix(opening)
    return message


def _remedy(node: Node | None, expected: str) -> str:
    """For a scalar of the wrong kind: how quotes would mend it."""
    if not isinstance(node, Scalar):
        return ""
    value = node.value
    if expected.startswith("text") and isinstance(value, bool | int | float):
        return f"in quotes: {json.dumps(str(value).lower() if isinstance(value, bool) else str(value))}"
    if expected.startswith(("a whole number", "a number")) and isinstance(value, str) and _is_number(value):
        return "without the quotes"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _property(schema: Mapping[str, JSON], location: Location) -> Mapping[str, JSON] | None:
    """The schema of a location."""
    place: Mapping[str, JSON] = schema
    for step in location:
        options = [_resolved(option, schema) for option in _options(_resolved(place, schema))]
        below = [_below(option, step) for option in options]
        found = [option for option in below if option]
        if not found:
            return None
        place = found[0]
    return place


def _below(place: Mapping[str, Any], step: str | int) -> Mapping[str, JSON] | None:
    if isinstance(step, int):
        items = place.get("items")
        return items if isinstance(items, Mapping) else None
    found = place.get("properties", {}).get(step)
    return found if isinstance(found, Mapping) else None


def _options(place: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    """The alternatives of a schema, without null: a field is unset by leaving it out."""
    options = place.get("anyOf") or place.get("oneOf") or [place]
    return [option for option in options if option.get("type") != "null"]


def _resolved(place: Mapping[str, JSON], schema: Mapping[str, JSON]) -> Mapping[str, JSON]:
    reference = place.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else place


def _phrase(place: Mapping[str, JSON], schema: Mapping[str, JSON]) -> str:
    """What a schema accepts, in words."""
    place = _resolved(place, schema)
    options = _options(place)
    if options == [place]:
        return _simple(place)
    return " or ".join(dict.fromkeys(filter(None, (_phrase(option, schema) for option in options))))


def _simple(place: Mapping[str, JSON]) -> str:
    if "const" in place:
        return str(place["const"])
    if "enum" in place:
        return " or ".join(map(str, place["enum"]))
    kind = _TYPES.get(str(place.get("type")), "")
    if kind == "text" and place.get("minLength"):
        return "text, not empty"
    bounds = [phrase.format(f"{place[key]:.15g}") for key, phrase in _RANGES.items() if key in place]
    return " ".join([kind, " and ".join(bounds)]).strip()
