"""Configuration files: config_lists by the class they are for, every value with its place in the file.

    AGPruner:
      config:
        - final_sparsity: 0.6
          end_epoch: 16
          support_type: default

A `tf` or `torch` before a class name is left out: what it configures is known from the call. A file that is a list
is one config_list, for any class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from autoprune import document
from autoprune.compression.core.config_list import SELECTORS
from autoprune.compression.core.errors import ConfigListError, remedy
from autoprune.document import Items, Node, Table
from autoprune.errors import ConfigError, Mark, Problem

ANY_CLASS = "*"
"""Where `load_configure` puts the config_list of a file that names no class."""

_PREFIX = re.compile(r"(tf|torch)(?=[A-Z])")
_PLACE = re.compile(r"config_list\[(\d+)\](?:\.(\w+))?")
_FILES = (".yml", ".yaml", ".json", ".jsonc")
_FORM = "a table of class names, or a list of entries"


class FileConfigList(list[dict[str, Any]]):
    """A config_list that knows where in its file each value stands; `mark` is the place of its name."""

    def __init__(self, items: Items, mark: Mark) -> None:
        entries: Any = document.plain(items)
        super().__init__(entries)
        self.mark = mark
        self._items = items

    def placed(self, problem: Problem) -> Problem:
        """The problem with the line it is about."""
        found = _PLACE.match(problem.path)
        if problem.mark is not None or found is None:
            return replace(problem, mark=problem.mark or self.mark)
        entry, key = self._items.items[int(found[1])], found[2]
        spellings = SELECTORS.get(key, (key,))
        keys = [each.mark for each in entry if each.key in spellings] if isinstance(entry, Table) else []
        return replace(problem, mark=keys[0] if keys else entry.mark)


def is_path(given: object) -> TypeGuard[str | Path]:
    """Whether a configuration file is given where a config_list is expected."""
    return isinstance(given, Path) or (isinstance(given, str) and given.endswith(_FILES))


def load_configure(path: str | Path) -> dict[str, FileConfigList]:
    """The config_lists of a file by class name; one that is for any class is called "*"."""
    try:
        tree, problems = document.read(Path(path))
    except ConfigError as error:
        raise ConfigListError(error.problems) from None
    found: dict[str, FileConfigList] = {}
    if isinstance(tree, Items):
        _add(found, ANY_CLASS, tree, tree.mark, problems)
    elif isinstance(tree, Table) and tree.entries:
        for entry in tree:
            name = _PREFIX.sub("", entry.key, count=1) if _PREFIX.match(entry.key) else entry.key
            _add(found, name, _config(entry, problems), entry.mark, problems)
    else:
        problems.append(Problem("", document.describe(tree), _FORM, tree.mark))
    if problems:
        raise ConfigListError(problems)
    return found


def config_list_for(path: str | Path, names: Sequence[str]) -> FileConfigList:
    """What a file says for a class of these names, or for any."""
    found = load_configure(path)
    own = [name for name in names if name in found] or [name for name in found if name == ANY_CLASS]
    if len(own) == 1:
        return found[own[0]]
    if own:
        problem = Problem("", f"both {own[0]} and {own[1]}, names of one class", "one of them", found[own[1]].mark)
    else:
        mark = next(iter(found.values())).mark
        problem = Problem("", ", ".join(found), f"an entry for {names[0]}", mark, remedy(names[0], found))
    raise ConfigListError([problem])


def _config(entry: document.Entry, problems: list[Problem]) -> Node:
    """The list under `config`, the only key of a class."""
    node = entry.node.get("config") if isinstance(entry.node, Table) else None
    for other in entry.node if isinstance(entry.node, Table) else ():
        if other.key != "config":
            hint = remedy(other.key, ["config"])
            problems.append(Problem(entry.key, f"the key {other.key!r}", "config alone", other.mark, hint))
    return entry.node if node is None else node


def _add(found: dict[str, FileConfigList], name: str, node: Node, mark: Mark, problems: list[Problem]) -> None:
    where = f"{name}.config" if name != ANY_CLASS else ""
    if name in found:
        problems.append(
            Problem(name, "the same class twice", f"one of them (first on line {found[name].mark.line})", mark)
        )
    elif not isinstance(node, Items):
        problems.append(Problem(where, document.describe(node), "a list of entries", node.mark))
    else:
        wrong = [item for item in node.items if not isinstance(item, Table)]
        problems += [Problem(where, document.describe(item), "a table of keys, an entry", item.mark) for item in wrong]
        if not wrong:
            found[name] = FileConfigList(node, mark)
