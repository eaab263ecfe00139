"""Which commands a fresh interpreter would run as a plain script, so that a warm one can run them instead."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_SHELL = frozenset("|&;<>()$`\\*?[]{}~!#\n")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_READ_AT_START = ("PYTHON", "LD_")


@dataclass(frozen=True)
class Script:
    """`[NAME=VALUE ...] python [-u] script.py ...`: the assignments, the words as they were given, and the script by
    the name it will know itself by."""

    assignments: Mapping[str, str]
    words: tuple[str, ...]
    file: str
    unbuffered: bool

    @property
    def path(self) -> Path:
        return Path(self.file)

    @property
    def argv(self) -> list[str]:
        return list(self.words[2 if self.unbuffered else 1 :])


def as_script(command: str, folder: Path, environment: Mapping[str, str]) -> Script | None:
    """The script that a command runs with this interpreter in `folder`; None for everything else: what a shell must
    read, other interpreters, their other options, and a script that is not there."""
    if _SHELL.intersection(command):
        return None
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        return None
    given = list(takewhile(_ASSIGNMENT.match, words))
    assignments = {name: value for name, _, value in (word.partition("=") for word in given)}
    words = words[len(given) :]
    unbuffered = words[1:2] == ("-u",)
    rest = words[2 if unbuffered else 1 :]
    if not rest or not rest[0].endswith(".py") or rest[0].startswith("-"):
        return None
    file = rest[0] if rest[0].startswith("/") else f"{folder.resolve()}/{rest[0]}"
    there = Path(file).is_file() and _is_this_interpreter(words[0], folder, {**environment, **assignments})
    return Script(assignments, words, file, unbuffered) if there else None


def starts_alike(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether an interpreter and a dynamic linker would start the same way in both environments."""
    return _read_at_start(one) == _read_at_start(other)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


def _is_this_interpreter(word: str, folder: Path, environment: Mapping[str, str]) -> bool:
    """By the folder too: a virtual environment's interpreter is a link to one that has other libraries."""
    found = str(folder / word) if "/" in word else shutil.which(word, path=environment.get("PATH", os.defpath))
    if found is None or not Path(found).exists():
        return False
    this = Path(sys.executable)
    return Path(found).parent.resolve() == this.parent.resolve() and Path(found).samefile(this)
