"""YAML and JSON files as trees that remember where every value stood.

PyYAML alone reads `1e-3` as a string, `no` as False, and lets the last of two equal keys win in silence. Here the
scalars are those of JSON, duplicate keys are problems, and each node keeps its mark, so that any later check can
point at file, line and column. JSON files may carry comments and trailing commas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from autoprune.errors import ConfigError, Mark, Problem
from autoprune.records import JSON

_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, JSON] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_JSON_NOISE = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|\t', re.DOTALL)


@dataclass(frozen=True)
class Scalar:
    """A string, number, boolean or null."""

    value: str | int | float | bool | None
    mark: Mark


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[Node]
    mark: Mark


@dataclass(frozen=True)
class Entry:
    """One key of a table with its value; `mark` is the key's."""

    key: str
    node: Node
    mark: Mark


@dataclass(frozen=True)
class Table:
    """A mapping with string keys, in the order of the file."""

    entries: Sequence[Entry]
    mark: Mark

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def get(self, key: str) -> Node | None:
        return next((entry.node for entry in self.entries if entry.key == key), None)


Node: TypeAlias = Scalar | Items | Table


def plain(node: Node) -> JSON:
    """The node's value without its marks."""
    match node:
        case Scalar(value=value):
            return value
        case Items(items=items):
            return [plain(item) for item in items]
        case Table(entries=entries):
            return {entry.key: plain(entry.node) for entry in entries}


def from_plain(value: JSON, file: str) -> Node:
    """A tree for a value that came from no file; every mark is just the name given."""
    mark = Mark(file)
    if isinstance(value, Mapping):
        return Table([Entry(str(key), from_plain(item, file), mark) for key, item in value.items()], mark)
    if isinstance(value, list | tuple):
        return Items([from_plain(item, file) for item in value], mark)
    return Scalar(value, mark)


def describe(node: Node) -> str:
    """The node's value as an error quotes it: short, in the file's own words."""
    match node:
        case Table():
            return "a table" if node.entries else "an empty table"
        case Items():
            return "a list" if node.items else "an empty list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool() as value):
            return str(value).lower()
        case Scalar(value=value):
            text = repr(value)
            return text if len(text) <= 60 else f"{text[:57]}..."


def read(path: Path, display: str | None = None) -> tuple[Node, list[Problem]]:
    """The tree of a file and the problems of its form (duplicate keys); a file that cannot be parsed raises.

    `display` is the name that marks show; by default the path as given.
    """
    name = display or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem("", f"{name}", "a file that can be read", None, str(error.strerror))]) from None
    except UnicodeDecodeError as error:
        problem = Problem("", f"byte 0x{error.object[error.start]:02x} at {error.start}", "UTF-8 text", Mark(name))
        raise ConfigError([problem]) from None
    return parse(text, name, json=path.suffix in (".json", ".jsonc"))


def parse(text: str, file: str, *, json: bool = False) -> tuple[Node, list[Problem]]:
    """The tree of a text and the problems of its form; see `read`."""
    text = text.removeprefix("\ufeff")
    if json:
        text = _JSON_NOISE.sub(_blank, text)
    try:
        return _parse(text, file)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error, file, "JSON" if json else "YAML")]) from None
    except RecursionError:
        problem = Problem("", "lists or tables nested very deeply", "a file for people", Mark(file))
        raise ConfigError([problem]) from None


def _parse(text: str, file: str) -> tuple[Node, list[Problem]]:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return Table([], Mark(file, 1, 1)), []
    builder = _Builder(file)
    return builder.build(root), builder.problems


def _syntax_problem(error: yaml.YAMLError, file: str, language: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem("", f"what is no {language} ({str(error).splitlines()[0]})", language, Mark(file))
    at = error.problem_mark or error.context_mark
    mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file)
    context = f" {error.context}" if error.context else ""
    return Problem("", f"what is no {language} ({error.problem or 'a syntax error'}{context})", language, mark)


def _blank(match: re.Match[str]) -> str:
    """Comments and tabs become spaces, so that positions stay."""
    found = match.group()
    return found if found[0] == '"' else re.sub(r"[^\n]", " ", found)


def _text(node: yaml.Node) -> str:
    """The scalar's text; JSON escapes characters beyond 16 bits in two halves, which YAML leaves apart."""
    return str(node.value).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass
class _Builder:
    """Turns PyYAML's nodes into ours; shared (aliased) nodes are built once."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    _built: dict[int, Node] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    def build(self, node: yaml.Node) -> Node:
        key = id(node)
        if key in self._open:
            raise ConfigError([Problem("", "an alias to a value it is inside of", "a finite tree", self._mark(node))])
        if key not in self._built:
            self._open.add(key)
            self._built[key] = self._convert(node)
            self._open.remove(key)
        return self._built[key]

    def _convert(self, node: yaml.Node) -> Node:
        mark = self._mark(node)
        if isinstance(node, yaml.SequenceNode):
            return Items([self.build(item) for item in node.value], mark)
        if isinstance(node, yaml.MappingNode):
            return Table(self._entries(node), mark)
        return Scalar(self._scalar(node), mark)

    def _entries(self, node: yaml.MappingNode) -> list[Entry]:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            mark = self._mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem("", "a list or table as a key", "a word", mark))
                continue
            key = _text(key_node)
            if key == "<<" and not key_node.style:
                merged.update(self._merged(value_node))
                continue
            if key in entries:
                first = entries[key].mark
                problem = Problem(key, "the same key twice", "each key once", mark, f"first on line {first.line}")
                self.problems.append(problem)
                continue
            entries[key] = Entry(key, self.build(value_node), mark)
        return [*(entry for key, entry in merged.items() if key not in entries), *entries.values()]

    def _merged(self, node: yaml.Node) -> dict[str, Entry]:
        """The entries behind a YAML merge key; of several sources the first wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Entry] = {}
        for source in sources:
            table = self.build(source)
            if not isinstance(table, Table):
                self.problems.append(Problem("<<", describe(table), "a table to merge", self._mark(source)))
                continue
            for entry in table:
                merged.setdefault(entry.key, entry)
        return merged

    def _scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        text = _text(node)
        if getattr(node, "style", None) in ("'", '"', "|", ">"):
            return text
        if text in _WORDS:
            value: str | int | float | bool | None = _WORDS[text]
            return value
        if _INTEGER.match(text) and len(text) < 4000:
            return int(text)
        if _FLOAT.match(text):
            number = float(text)
            if math.isfinite(number):
                return number
            self.problems.append(Problem("", text, "a finite number", self._mark(node)))
        return text

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)
