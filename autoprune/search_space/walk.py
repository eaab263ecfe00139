"""From a space to parameters and back: one walk for every way of picking, one for reading what was picked.

A flat form names only what is active: `{path: value}`, where the value of a choice is the index of its option.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeAlias

from autoprune.document import describe, from_plain
from autoprune.errors import ConfigError, Problem, UsageError, did_you_mean
from autoprune.records import JSON, Parameters
from autoprune.search_space.leaves import is_number
from autoprune.search_space.space import (
    Branch,
    Choice,
    Constant,
    Dimension,
    Option,
    Space,
    branch_prefix,
    member_path,
    option_path,
    unescaped,
)

Pick: TypeAlias = Callable[[str, Dimension], float]
"""Given a path and its leaf or choice, the leaf's value or the index of the choice's option."""

Flat: TypeAlias = Mapping[str, float]
"""Active paths with their values."""


def suggest(space: Space, pick: Pick) -> dict[str, Any]:
    """Parameters, each value from `pick`, which is called once per active path, a choice before what it opens."""
    return _pick_group(space.members, "", pick)


def sample(space: Space, random: Random) -> dict[str, Any]:
    """Parameters drawn from the space's own distributions."""

    def pick(_: str, dimension: Dimension) -> float:
        if isinstance(dimension, Choice):
            return random.randrange(len(dimension.options))
        return dimension.from_unit(random.random())

    return suggest(space, pick)


def defaults(space: Space) -> dict[str, Any]:
    """First options and midpoints: the median of every distribution."""
    return suggest(space, lambda _, dim: 0 if isinstance(dim, Choice) else dim.from_unit(0.5))


def unflatten(space: Space, flat: Flat) -> dict[str, Any]:
    """The parameters of a flat form; paths that are not active are ignored, a missing one raises."""

    def pick(path: str, _: Dimension) -> float:
        if path not in flat:
            raise UsageError(f"no value is given for {unescaped(path)}, which these parameters need")
        return flat[path]

    return suggest(space, pick)


def flatten(space: Space, parameters: Parameters) -> dict[str, float]:
    """The flat form of parameters; raises `ConfigError` with every place where they are not of this space."""
    reader = _Reader()
    reader.group(space.members, parameters, "")
    if reader.problems:
        raise ConfigError(reader.problems)
    return reader.flat


def _pick_group(members: Mapping[str, Dimension], prefix: str, pick: Pick) -> dict[str, Any]:
    return {key: _pick(dim, member_path(prefix, key), pick) for key, dim in members.items()}


def _pick(dimension: Dimension, path: str, pick: Pick) -> JSON:
    if not isinstance(dimension, Choice):
        return pick(path, dimension)
    index = int(pick(path, dimension))
    match dimension.options[index]:
        case Constant(value=value):
            return copy.deepcopy(value)
        case Branch() as branch:
            return {"_name": branch.name, **_pick_group(branch.members, branch_prefix(path, branch), pick)}
        case opened:
            return _pick(opened, option_path(path, index), pick)


class _Reader:
    """Reads parameters along a space into `flat`, and notes as `problems` what does not fit."""

    def __init__(self) -> None:
        self.flat: dict[str, float] = {}
        self.problems: list[Problem] = []

    def problem(self, path: str, given: str, expected: str, remedy: str = "") -> None:
        self.problems.append(Problem(unescaped(path), given, expected, None, remedy))

    def group(self, members: Mapping[str, Dimension], values: Parameters, prefix: str) -> None:
        for key, dimension in members.items():
            path = member_path(prefix, key)
            if key in values:
                self.dimension(dimension, values[key], path)
            else:
                self.problem(path, "nothing", "a value")
        for key in values:
            if key not in members and not (prefix and key == "_name"):
                remedy = did_you_mean(key, list(members)) if members else ""
                self.problem(member_path(prefix, key), "a parameter", "only those of the space", remedy)

    def dimension(self, dimension: Dimension, value: JSON, path: str) -> None:
        if isinstance(dimension, Choice):
            self.choice(dimension, value, path)
        elif dimension.contains(value):
            self.flat[path] = value if dimension.kind == "randint" else float(value)
        else:
            self.problem(path, describe(from_plain(value, "")), dimension.expected)

    def choice(self, choice: Choice, value: JSON, path: str) -> None:
        index = next((i for i, option in enumerate(choice.options) if offers(option, value)), None)
        if index is None:
            labels = ", ".join(choice.label(i) for i in range(len(choice.options)))
            named = isinstance(value, Mapping) and "_name" in value
            given = f"_name {value['_name']!r}" if named else describe(from_plain(value, ""))
            self.problem(path, given, f"one of: {labels}")
            return
        self.flat[path] = index
        match choice.options[index]:
            case Constant():
                pass
            case Branch() as branch:
                self.group(branch.members, value, branch_prefix(path, branch))
            case opened:
                self.dimension(opened, value, option_path(path, index))


def offers(option: Option, value: JSON) -> bool:
    """Whether this option gives the value (of a branch: whether it is the branch named)."""
    match option:
        case Constant(value=constant):
            return same(constant, value)
        case Branch(name=name):
            return isinstance(value, Mapping) and value.get("_name") == name
        case Choice(options=options):
            return any(offers(inner, value) for inner in options)
        case leaf:
            return leaf.contains(value)


def same(a: JSON, b: JSON) -> bool:
    """Equality as JSON has it: 1 is 1.0, but true is not 1."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if is_number(a) and is_number(b):
        return a == b
    return type(a) is type(b) and bool(a == b)
