"""A search space as data: a group of named dimensions, where a choice may open further dimensions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from autoprune.records import JSON
from autoprune.search_space.leaves import Leaf


@dataclass(frozen=True)
class Constant:
    """An option that is just a value."""

    value: JSON

    @property
    def label(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


@dataclass(frozen=True)
class Branch:
    """An option that brings its own dimensions; a trial sees it as a dict with `_name`."""

    name: str
    members: Mapping[str, Dimension] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.name


@dataclass(frozen=True)
class Choice:
    """One of several options. No two of them can give the same value, so a value tells which was chosen."""

    options: tuple[Option, ...]
    kind = "choice"

    def label(self, index: int) -> str:
        """What to call an option where people read: its value, its `_name`, or its type."""
        option = self.options[index]
        return option.label if isinstance(option, Constant | Branch) else option.kind


Dimension: TypeAlias = Leaf | Choice
"""What a parameter can be."""

Option: TypeAlias = Constant | Branch | Leaf | Choice
"""What a choice can offer; a leaf or choice here gives its own value, without a `_name`."""


@dataclass(frozen=True)
class Space:
    """The whole search space."""

    members: Mapping[str, Dimension]

    def dimensions(self) -> Iterator[tuple[str, Dimension]]:
        """Every dimension with its path, active or not, a choice before what it opens."""
        return _group(self.members, "")


def member_path(prefix: str, key: str) -> str:
    """The path of a member: keys joined by "/", with "~", "/" and "#" in a key as "~0", "~1" and "~2"."""
    escaped = key.replace("~", "~0").replace("/", "~1").replace("#", "~2")
    return f"{prefix}{escaped}"


def unescaped(path: str) -> str:
    """A path with the names in it as they were given, for people."""
    return path.replace("~2", "#").replace("~1", "/").replace("~0", "~")


def branch_prefix(path: str, branch: Branch) -> str:
    """What the paths of a branch's members begin with; two branches never share a path."""
    return f"{member_path(f'{path}/', branch.name)}/"


def option_path(path: str, index: int) -> str:
    """The path of a leaf or choice that is itself an option."""
    return f"{path}/#{index}"


def _group(members: Mapping[str, Dimension], prefix: str) -> Iterator[tuple[str, Dimension]]:
    for key, dimension in members.items():
        yield from _dimension(dimension, member_path(prefix, key))


def _dimension(dimension: Dimension, path: str) -> Iterator[tuple[str, Dimension]]:
    yield path, dimension
    if not isinstance(dimension, Choice):
        return
    for index, option in enumerate(dimension.options):
        if isinstance(option, Branch):
            yield from _group(option.members, branch_prefix(path, option))
        elif not isinstance(option, Constant):
            yield from _dimension(option, option_path(path, index))
