"""From a search space file to a `Space`: the ten NNI types at any depth, and every mistake in one report.

Besides NNI's nested dicts with `_name`, an option may itself be a definition (`{"_type": ..., "_value": ...}`). Two or
more options that are all dicts without a `_name`, with no definition inside, are values, as tuner Batch takes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from autoprune.document import Items, Node, Scalar, Table, describe, from_plain, plain
from autoprune.errors import ConfigError, Mark, Problem, did_you_mean, nearest
from autoprune.records import JSON
from autoprune.search_space.leaves import Leaf, Normal, RandInt, Uniform, is_number
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
from autoprune.search_space.walk import same

SHAPES = {
    "choice": ("option", "..."),
    "randint": ("low", "high"),
    "uniform": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "loguniform": ("low", "high"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}
"""Every `_type` with what its `_value` holds."""

_KEYS = ("_type", "_value")
_T = TypeVar("_T")


def parse_space(node: Node) -> Space:
    """The space a document describes; raises `ConfigError` with all that is wrong with it."""
    parser = _Parser()
    members = parser.root(node)
    if parser.problems:
        raise ConfigError(parser.problems)
    return Space(members)


def space_from_plain(data: JSON, file: str = "search space") -> Space:
    """The space of a plain dict; `file` is what errors call it."""
    return parse_space(from_plain(data, file))


class _Parser:
    """Each method returns what it could read, and None where it noted a problem instead."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, path: str, given: str, expected: str, mark: Mark, remedy: str = "") -> None:
        self.problems.append(Problem(unescaped(path), given, expected, mark, remedy))

    def root(self, node: Node) -> dict[str, Dimension]:
        expected = "a table of parameter names, each with _type and _value"
        if not isinstance(node, Table):
            self.problem("", describe(node), expected, node.mark)
        elif not node.entries:
            self.problem("", "an empty search space", "at least one parameter", node.mark)
        elif all(node.get(key) is not None for key in _KEYS):
            self.problem("", "a definition without a name", expected, node.mark, 'write {"name": {"_type": ...}}')
        else:
            return self.members(node, "")
        return {}

    def members(self, table: Table, prefix: str) -> dict[str, Dimension]:
        for entry in table:
            if not entry.key or (entry.key == "_name" and not prefix):
                expected = "a name that is not taken" if entry.key else "a name of one character or more"
                self.problem("", f"a parameter called {entry.key!r}", expected, entry.mark)
        read = {
            entry.key: self.dimension(entry.node, member_path(prefix, entry.key))
            for entry in table
            if not (prefix and entry.key == "_name")
        }
        return {key: dimension for key, dimension in read.items() if dimension is not None}

    def dimension(self, node: Node, path: str) -> Dimension | None:
        expected = "a definition with _type and _value"
        if not isinstance(node, Table):
            remedy = f'for a fixed value: {{"_type": "choice", "_value": [{describe(node)}]}}'
            self.problem(path, describe(node), expected, node.mark, remedy if isinstance(node, Scalar) else "")
            return None
        misspelt = self.unknown_keys(node, path)
        for key in _KEYS:
            if node.get(key) is None and key not in misspelt:
                self.problem(path, f"a table without {key}", expected, node.mark)
        kind = self.kind(node.get("_type"), path)
        value = node.get("_value")
        if kind is None or value is None:
            return None
        return self.choice(value, path) if kind == "choice" else self.leaf(kind, value, path)

    def unknown_keys(self, table: Table, path: str) -> set[str]:
        """Notes keys that a definition does not have; returns the keys they were meant to be."""
        meant = set()
        for entry in table:
            if entry.key not in _KEYS:
                close = nearest(entry.key, [key for key in _KEYS if table.get(key) is None])
                meant |= {close} if close else set()
                remedy = f"did you mean {close}?" if close else "valid: _type, _value"
                self.problem(path, f"the key {entry.key}", "only _type and _value", entry.mark, remedy)
        return meant

    def kind(self, node: Node | None, path: str) -> str | None:
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, str):
            if node.value in SHAPES:
                return node.value
            remedy = did_you_mean(node.value, list(SHAPES))
        else:
            remedy = f"valid: {', '.join(SHAPES)}"
        self.problem(path, f"_type {describe(node)}", "a type of the search space", node.mark, remedy)
        return None

    # Numbers

    def leaf(self, kind: str, node: Node, path: str) -> Leaf | None:
        names = SHAPES[kind]
        shape = f"[{', '.join(names)}] for {kind}"
        if not isinstance(node, Items) or len(node.items) != len(names):
            given = f"a list of {len(node.items)}" if isinstance(node, Items) else describe(node)
            self.problem(path, given, shape, node.mark)
            return None
        numbers = [self.number(kind, item, name, path) for name, item in zip(names, node.items, strict=True)]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            return None
        before = len(self.problems)
        self.rules(kind, known, node, path)
        return None if len(self.problems) > before else _build(kind, known)

    def number(self, kind: str, node: Node, name: str, path: str) -> float | None:
        integer = kind == "randint"
        value = plain(node)
        if is_number(value) and (isinstance(value, int) or not integer):
            return value
        remedy = "without quotes" if isinstance(value, str) and _reads_as_number(value) else ""
        if integer and isinstance(value, float) and math.isfinite(value):
            remedy = "quniform has steps" if value % 1 else f"write {int(value)}"
        expected = f"{'a whole' if integer else 'a finite'} number as {name} of {kind}"
        self.problem(path, describe(node), expected, node.mark, remedy)
        return None

    def rules(self, kind: str, numbers: Sequence[float], node: Items, path: str) -> None:
        """Notes where the numbers contradict each other or their type."""
        first, second = numbers[:2]
        marks = [item.mark for item in node.items]
        if kind.endswith("normal"):
            if second <= 0:
                self.problem(path, f"sigma {second:g}", "sigma above 0", marks[1])
        else:
            self.bounds(kind, first, second, node, path)
        if len(numbers) == 3:
            self.step(kind, first, second, numbers[2], marks[2], path)

    def bounds(self, kind: str, low: float, high: float, node: Items, path: str) -> None:
        given = f"[{low!r}, {high!r}]"
        if low > high:
            self.problem(path, given, "low below high", node.mark, f"swap them: [{high!r}, {low!r}]")
        elif low == high:
            remedy = "high is exclusive" if kind == "randint" else "for a fixed value use choice"
            self.problem(path, given, "low below high", node.mark, remedy)
        if not math.isfinite(high - low):
            self.problem(path, given, "bounds whose difference a float can hold", node.mark)
        if "log" in kind and low <= 0:
            expected = "low above 0, since its logarithm is taken"
            self.problem(path, f"low {low:g}", expected, node.items[0].mark, "a small one, such as 1e-4")

    def step(self, kind: str, low: float, high: float, q: float, mark: Mark, path: str) -> None:
        if q <= 0:
            self.problem(path, f"q {q:g}", "q above 0", mark)
        elif kind.endswith("uniform") and low < high and math.floor(high / q + 1e-9) * q < low:
            expected = f"a q with a multiple between {low:g} and {high:g}"
            self.problem(path, f"q {q:g}", expected, mark, f"at most {high - low:g}")

    # Choices

    def choice(self, node: Node, path: str) -> Choice | None:
        if not isinstance(node, Items) or not node.items:
            self.problem(path, describe(node), "a list of at least one option", node.mark)
            return None
        options: list[tuple[Option, Mark]] = []
        sets = len(node.items) > 1 and all(isinstance(item, Table) and _is_plain(item) for item in node.items)
        for index, item in enumerate(node.items):
            option = self.constant(item, path) if sets else self.option(item, path, index)
            if option is not None:
                self.distinct(option, item, options, path)
                options.append((option, item.mark))
        return Choice(tuple(option for option, _ in options))

    def option(self, node: Node, path: str, index: int) -> Option | None:
        if isinstance(node, Table):
            if node.get("_type") is not None:
                return self.dimension(node, option_path(path, index))
            return self.branch(node, path, index)
        if isinstance(node, Items) and _holds_table(node):
            self.problem(path, "a table inside a list as an option", "values, or a table itself", node.mark)
            return None
        return self.constant(node, path)

    def constant(self, node: Node, path: str) -> Constant | None:
        value = plain(node)
        if not _is_finite(value):
            self.problem(path, f"the option {value}", "a finite number", node.mark)
            return None
        return Constant(value)

    def branch(self, node: Table, path: str, index: int) -> Branch | None:
        name = node.get("_name")
        if name is None:
            close = next((entry for entry in node if nearest(entry.key, ["_name"])), None)
            remedy = f"did you mean _name, not {close.key}?" if close else 'add "_name": "..."'
            mark = close.mark if close else node.mark
            self.problem(option_path(path, index), "a nested option without _name", "a _name", mark, remedy)
            return None
        if not (isinstance(name, Scalar) and isinstance(name.value, str)):
            expected = "a string"
            self.problem(option_path(path, index), f"_name {describe(name)}", expected, name.mark, "put it in quotes")
            return None
        return Branch(name.value, self.members(node, branch_prefix(path, Branch(name.value))))

    def distinct(self, option: Option, node: Node, others: list[tuple[Option, Mark]], path: str) -> None:
        """Notes an option that can give the same value as an earlier one."""
        for other, mark in others:
            if not any(_overlap(a, b) for a in _atoms(option) for b in _atoms(other)):
                continue
            at = f" as on line {mark.line}" if mark.line else ""
            if isinstance(option, Branch):
                name = node.get("_name") if isinstance(node, Table) else None
                where = name.mark if name else node.mark
                self.problem(path, f"the same _name {option.name!r}{at}", "each _name once", where)
            elif isinstance(option, Constant):
                self.problem(path, f"the same option {describe(node)}{at}", "each option once", node.mark)
            else:
                given, expected = f"an option with the same values{at}", "options that their values tell apart"
                self.problem(path, given, expected, node.mark, "make each a table with a _name")
            return


def _build(kind: str, numbers: Sequence[float]) -> Leaf:
    first, second = numbers[:2]
    if kind == "randint":
        return RandInt(int(first), int(second))
    q = float(numbers[2]) if len(numbers) == 3 else None
    shape = Normal if kind.endswith("normal") else Uniform
    return shape(float(first), float(second), "log" in kind, q)


def _atoms(option: Option) -> list[Constant | Branch | Leaf]:
    """The option, or for a choice all that it can open."""
    return [atom for inner in option.options for atom in _atoms(inner)] if isinstance(option, Choice) else [option]


def _overlap(a: Constant | Branch | Leaf, b: Constant | Branch | Leaf) -> bool:
    """Whether some value could come from either; two ranges count as overlapping where their bounds do."""
    if isinstance(a, Branch) or isinstance(b, Branch):
        return isinstance(a, Branch) and isinstance(b, Branch) and a.name == b.name
    if isinstance(a, Constant):
        return same(a.value, b.value) if isinstance(b, Constant) else b.contains(a.value)
    return a.contains(b.value) if isinstance(b, Constant) else a.low <= b.high and b.low <= a.high


def _holds_table(node: Node) -> bool:
    return isinstance(node, Table) or (isinstance(node, Items) and any(map(_holds_table, node.items)))


def _is_plain(node: Node) -> bool:
    """Whether nothing inside is a definition or a branch, or was meant to be one."""
    if isinstance(node, Table):
        return all(entry.key not in (*_KEYS, "_name") and _is_plain(entry.node) for entry in node)
    return not isinstance(node, Items) or all(map(_is_plain, node.items))


def _is_finite(value: JSON) -> bool:
    """Whether there is no infinity or NaN in a value."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _reads_as_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
