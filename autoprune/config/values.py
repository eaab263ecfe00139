"""The kinds of value a configuration holds beyond JSON's own: durations, flags, folders, GPU lists.

Each is an annotated type, so a field that uses one gets its parsing, its message and its JSON Schema with it. A
validator that refuses a value raises `refuse(expected, remedy)`; the loader adds what was given, and where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from autoprune.errors import nearest
from autoprune.records import JSON

UNITS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([smhd]?)")
_LONGEST = 300 * 365 * 86400.0
MOST = 2**31 - 1
"""How many there can be of anything that is counted: what a store keeps as a whole number."""
MOST_AT_ONCE = 1000
"""How many trials can run at a time."""
_FLAGS: Mapping[str, bool] = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
BASE = "base"
"""The key of the validation context that holds the folder relative paths start from."""


class Section(BaseModel):
    """A table of the file: snake_case in Python, camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


def refuse(expected: str, remedy: str = "") -> PydanticCustomError:
    """The error of a value that is not what was expected."""
    return PydanticCustomError("refused", "{expected}", {"expected": expected, "remedy": remedy})


def parse_duration(value: JSON) -> float:
    """Seconds in `100h`, `30m`, `45s`, `2d`, `0.5h`, or a plain number of seconds; more than none."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * UNITS[match[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        raise refuse("a duration such as 100h, 30m, 45s, 2d, 0.5h, or seconds")
    if not (0 < seconds <= _LONGEST):
        raise refuse("a duration above 0" if seconds <= 0 else "a duration of 300 years at most")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back as exactly these seconds."""
    for unit, size in reversed(list(UNITS.items())):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return repr(seconds)


def parse_flag(value: JSON) -> JSON:
    """YAML 1.1's words for true and false, which files written for NNI use; anything else unchanged."""
    return _FLAGS.get(value.casefold(), value) if isinstance(value, str) else value


def resolve(path: Path, base: Path) -> Path:
    """Absolute, with `~` expanded, from the folder that relative paths start from."""
    return (base / path.expanduser()).resolve()


def nearest_file(path: Path, *, folders: bool = False) -> str:
    """A remedy for a path that does not exist: the name beside it that is most like it."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() == folders]
    close = nearest(path.name, names)
    return f"did you mean {close}?" if close else f"looked for {path}"


def _path(value: JSON) -> JSON:
    if isinstance(value, str):
        if not value or "\0" in value:
            raise refuse("a path")
        return Path(value)
    return value


def _place(path: Path, info: ValidationInfo) -> Path:
    base = _base(info)
    if base is None:
        return path
    found = resolve(path, base)
    if found.exists() and not found.is_dir():
        raise refuse("a folder", f"{found} is a file")
    return found


def _folder(path: Path, info: ValidationInfo) -> Path:
    base = _base(info)
    if base is None:
        return path
    found = resolve(path, base)
    if found.is_file():
        raise refuse("a folder", f"{found} is a file")
    if not found.is_dir():
        raise refuse("a folder that exists", nearest_file(found, folders=True))
    return found


def _base(info: ValidationInfo) -> Path | None:
    context = info.context
    return context.get(BASE) if isinstance(context, Mapping) else None


def _task(value: str, info: ValidationInfo) -> str:
    """`task.py:Task`, with the file's whole path."""
    file, _, name = value.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise refuse("a file and a class in it, such as task.py:Task")
    base = _base(info)
    if base is None:
        return value
    found = resolve(Path(file), base)
    if not found.is_file():
        raise refuse("a file that exists", nearest_file(found))
    return f"{found}:{name}"


def _indices(value: JSON) -> JSON:
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            raise refuse("GPU numbers such as [0, 1], 0, or '0,1'")
        return tuple(int(part) for part in parts)
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, int) else value


_TEXT_PATH = {"type": "string", "minLength": 1}
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": f"^({_DURATION.pattern})$"},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
_INDICES_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "integer", "minimum": 0}},
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": "^[0-9]+(,[0-9]+)*$"},
    ]
}

Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Flag = Annotated[bool, BeforeValidator(parse_flag)]
Place = Annotated[Path, BeforeValidator(_path), AfterValidator(_place), WithJsonSchema(_TEXT_PATH)]
"""A folder that may come into being."""
Folder = Annotated[Path, BeforeValidator(_path), AfterValidator(_folder), WithJsonSchema(_TEXT_PATH)]
"""A folder that must exist when a file is read; a stored configuration may outlive it."""
GpuIndices = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_indices), WithJsonSchema(_INDICES_SCHEMA)
]
TaskClass = Annotated[str, AfterValidator(_task), WithJsonSchema({"type": "string", "pattern": r"\.py:[^:]+$"})]
"""A class in a file of Python; a stored configuration may outlive it."""
