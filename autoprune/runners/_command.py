"""Commands that are nothing but an interpreter and its script: a warm one can run it, and whether it is there shows."""

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
_PYTHON = re.compile(r"python[0-9.]*")
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
    script = _plain(command, folder)
    if script is None or not script.path.is_file():
        return None
    return script if _is_this_interpreter(script.words[0], folder, {**environment, **script.assignments}) else None


def missing_script(command: str, folder: Path) -> Path | None:
    """The script that a command gives to some Python in `folder`, where it is not there; None where nobody can tell."""
    script = _plain(command, folder)
    if script is None or script.path.exists() or not _PYTHON.fullmatch(Path(script.words[0]).name):
        return None
    return script.path


def _plain(command: str, folder: Path) -> Script | None:
    """A command of this form, whatever its first word is and whether or not the script is there."""
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
    return Script(assignments, words, file, unbuffered)


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
