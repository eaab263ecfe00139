"""Every error autoprune raises, and how one reads.

An error says what was given, what was expected, where, and the nearest right answer. Errors that come from
a file are collected as `Problem`s and shown together, so a user mends a file in one pass. `exit_code` is what
the command line returns for the error; no other place maps errors to exit codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file, 1-based, as editors count."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what the user gave.

    `path` names the value (`tuner.classArgs.seed`), `given` quotes it, `expected` says what would be right, and
    `remedy` is the nearest valid name or the thing to do.
    """

    path: str
    given: str
    expected: str
    mark: Mark | None = None
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.mark}: " if self.mark else ""
        name = f"{self.path}: " if self.path else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}{name}given {self.given}; expected {self.expected}{remedy}"

    def to_json(self) -> dict[str, str | int | None]:
        """The same for programs."""
        place = self.mark or Mark("")
        return {
            "file": place.file or None,
            "line": place.line or None,
            "column": place.column or None,
            "path": self.path,
            "given": self.given,
            "expected": self.expected,
            "remedy": self.remedy,
        }


class AutopruneError(Exception):
    """The root of all errors raised on purpose."""

    exit_code = 1


class UsageError(AutopruneError):
    """What was asked for cannot be done as asked: arguments, configuration, an unknown name."""

    exit_code = 2


class ConfigError(UsageError):
    """Everything wrong with a file, in the order of its lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda problem: problem.mark or Mark("")))
        count = len(self.problems)
        heading = f"{count} problems:\n" if count > 1 else ""
        super().__init__(heading + "\n".join(str(problem) for problem in self.problems))


class NotFoundError(UsageError):
    """An id, name or number that nothing answers to."""


class ConflictError(UsageError):
    """What was asked for is not possible as things stand, such as asking a manager where none runs."""


class LockedError(AutopruneError):
    """Another manager runs this experiment."""

    exit_code = 75


class TunerError(AutopruneError):
    """The tuner or its process failed for good."""


class StoreError(AutopruneError):
    """The database cannot be opened, read or written."""


class TrialError(AutopruneError):
    """A trial script used the trial API where or how it cannot be used."""


def nearest(name: str, valid: Sequence[str]) -> str | None:
    """The valid name most like `name`, or the only one that begins with it, ignoring case; None when there is none."""
    folded = {candidate.casefold(): candidate for candidate in valid}
    longer = [candidate for candidate in folded if name and candidate.startswith(name.casefold())]
    if len(longer) == 1:
        return folded[longer[0]]
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(name: str, valid: Sequence[str]) -> str:
    """A remedy: the nearest valid name, or all of them when none is near."""
    close = nearest(name, valid)
    return f"did you mean {close}?" if close else f"valid: {', '.join(valid)}"
