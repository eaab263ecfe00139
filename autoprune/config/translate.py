"""From a file's own spelling, v1 or v2, to v2 names.

Every leaf that a file may hold has one entry in `SPELLINGS`, made from the declarations in `model` and `nni`. What
comes out is flat: the v2 path of each field given, with its node and the place where it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import get_args

from autoprune.config.model import V1, ConfigFile
from autoprune.config.nni import IGNORED, REFUSED
from autoprune.config.values import Section
from autoprune.document import Node, Scalar, Table, describe
from autoprune.errors import Mark, Problem, nearest
from autoprune.registry import fold
from autoprune.tuners import TunerArgs

CLASS_FILE = "tuner.classFileName"
"""v1 splits a tuner's class over two fields; `join_class_file` puts them together."""


@dataclass(frozen=True)
class Found:
    """A field as a file gives it: its spelling there, its value, and where its name stands."""

    spelling: str
    node: Node
    mark: Mark


@dataclass
class Draft:
    """The fields given so far under their v2 paths, and what is wrong with them."""

    mark: Mark
    found: dict[str, Found] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, path: str, expected: str, remedy: str = "", given: str = "") -> None:
        """Adds a problem about the value of a field."""
        found = self.found.get(path)
        quoted = given or (describe(found.node) if found else "nothing")
        self.problems.append(Problem(path, quoted, expected, self.at(path), remedy))

    def meant(self, *paths: str) -> bool:
        """Whether one of these is missing because it is misspelled, which has been said."""
        remedies = {problem.remedy for problem in self.problems}
        return any(path not in self.found and _did_you_mean(path) in remedies for path in paths)

    def at(self, path: str) -> Mark:
        """Where a field's value stands; for one not given, its section or the file's beginning."""
        found = self.found.get(path)
        if found:
            return found.node.mark
        section = path.rpartition(".")[0]
        inside = (found.mark for name, found in self.found.items() if section and name.startswith(f"{section}."))
        return next(inside, self.mark)


def sections(model: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """The fields of a model that are tables with fields of their own."""
    for info in model.model_fields.values():
        for option in (info.annotation, *get_args(info.annotation)):
            if isinstance(option, type) and issubclass(option, Section):
                yield str(info.alias), option


def leaves(model: type[Section] = ConfigFile, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """The v2 path of every field, with the place where v1 files put it (None: no v1 file has it)."""
    tables = dict(sections(model))
    for info in model.model_fields.values():
        alias = str(info.alias)
        if alias in tables:
            yield from leaves(tables[alias], f"{prefix}{alias}.")
        else:
            old = next((item.path for item in info.metadata if isinstance(item, V1)), None)
            yield f"{prefix}{alias}", old


def _fold(path: str) -> str:
    return ".".join(fold(step) for step in path.split("."))


def _spellings() -> dict[str, str]:
    table = {_fold(path): path for path in (CLASS_FILE, *IGNORED, *REFUSED)}
    for path, old in leaves():
        table[_fold(path)] = path
        if old:
            table[_fold(old)] = path
    return table


SPELLINGS: Mapping[str, str] = MappingProxyType(_spellings())
"""Folded path, in either version, to v2 path."""
_SECTIONS = frozenset(path.rpartition(".")[0] for path in SPELLINGS if "." in path)
_OFFERED = {_fold(path): path for path, _ in leaves()} | {
    _fold(spelled): path for path, old in leaves() for spelled in ((old, old.rpartition(".")[2]) if old else ())
}
"""What an unknown key may have meant: every v2 path, and v1 spellings with theirs."""


def translate(root: Table) -> Draft:
    """The fields of a file; unknown and repeated ones are problems, and unset (null) ones are left out."""
    draft = Draft(root.mark)
    _translate(root, "", "", draft)
    return draft


def _translate(table: Table, folded: str, spelled: str, draft: Draft) -> None:
    for entry in table:
        path = f"{folded}{fold(entry.key)}"
        name = f"{spelled}{entry.key}"
        if "." not in entry.key and path in SPELLINGS:
            _take(SPELLINGS[path], Found(name, entry.node, entry.mark), draft)
        elif path not in _SECTIONS:
            problem = Problem(name, "an unknown field", "a field of the configuration", entry.mark, suggest(name))
            draft.problems.append(problem)
        elif isinstance(entry.node, Table):
            _translate(entry.node, f"{path}.", f"{name}.", draft)
        elif not is_null(entry.node):
            draft.problems.append(Problem(name, describe(entry.node), "a table", entry.node.mark, _example(path)))


def _take(path: str, found: Found, draft: Draft) -> None:
    first = draft.found.get(path)
    if first:
        remedy = f"keep one; {first.spelling} is on line {first.mark.line}" if first.mark.line else "keep one"
        expected = f"{path} once"
        given = f"it and {first.spelling}, which mean the same"
        draft.problems.append(Problem(found.spelling, given, expected, found.mark, remedy))
    elif not is_null(found.node):
        draft.found[path] = found


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def suggest(spelling: str) -> str:
    """A remedy for an unknown field: the nearest in v2 spelling, in the same table first, then anywhere."""
    section, _, key = spelling.rpartition(".")
    if fold(section) in ("tuner", "assessor") and fold(key) in map(fold, TunerArgs.model_fields):
        return _did_you_mean(f"{section}.classArgs.{key}")
    anywhere = {folded.rpartition(".")[2]: path for folded, path in _OFFERED.items()}
    inside = {
        folded.rpartition(".")[2]: path
        for folded, path in _OFFERED.items()
        if folded.rpartition(".")[0] == _fold(section)
    }
    for names in (inside, anywhere):
        if close := nearest(fold(key), list(names)):
            return _did_you_mean(names[close])
    if not section:
        sections = {_fold(path.split(".")[0]): path.split(".")[0] for path in _OFFERED.values() if "." in path}
        close = nearest(fold(key), list(sections))
        return _did_you_mean(sections[close]) if close else "`autoprune schema` lists the fields"
    return f"fields: {', '.join(dict.fromkeys(inside.values()))}"


def _did_you_mean(path: str) -> str:
    return f"did you mean {path}?"


def _example(section: str) -> str:
    """How a section is written, for one that was given as a single value."""
    first = next(path for folded, path in _OFFERED.items() if folded.startswith(f"{section}."))
    key = first.rpartition(".")[2]
    return f"write it as a table with {key}: below"


def join_class_file(draft: Draft) -> None:
    """v1's `classFileName: mine.py` and `className: Mine` are v2's `className: mine.Mine`."""
    file = draft.found.pop(CLASS_FILE, None)
    if file is None:
        return
    path = "tuner.className"
    found = draft.found.get(path)
    module = file.node.value if isinstance(file.node, Scalar) else None
    if found is None or not isinstance(found.node, Scalar):
        expected = "className beside it"
        draft.problems.append(Problem(file.spelling, describe(file.node), expected, file.mark))
    elif not isinstance(module, str) or not module.endswith(".py"):
        expected = "the name of a Python file"
        draft.problems.append(Problem(file.spelling, describe(file.node), expected, file.node.mark))
    else:
        stem = module.removesuffix(".py").removeprefix("./").replace("/", ".")
        joined = Scalar(f"{stem}.{found.node.value}", found.node.mark)
        draft.found[path] = Found(found.spelling, joined, found.mark)
