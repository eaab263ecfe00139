"""What a failed attempt complains of: the exception of a Python program, else the last line that it wrote."""

from __future__ import annotations

import re
from itertools import dropwhile

from click import unstyle

from autoprune.protocol import STDERR
from autoprune.records import TrialSpec

_READ = 2 * 1024 * 1024
_LONGEST, _BEGINNING = 300, 200
_WORD = re.compile(r"\w")
_MARGIN = re.compile(r" *\| ")
"""In front of what belongs to an exception group."""
_ABOVE = re.compile(r'Traceback \(most recent call last\):|  File ".*", line \d+| *\+[+-]+ \d+ -+$')
"""Lines that only stand above an exception: the head of a traceback, its frames, and the number within a group."""
_EXCEPTION = re.compile(r"[^\W\d][\w.]*(:|$)")


def complaint_of(spec: TrialSpec) -> str:
    """What the attempt's standard error complains of; empty where it says nothing."""
    try:
        with (spec.folder / STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _READ))
            return complaint(file.read().decode(errors="replace"))
    except OSError:
        return ""


def complaint(said: str) -> str:
    """The last exception with its message and what follows, on one line; without one, the last line.

    A terminal's colours and the like are left out.
    """
    lines = [_MARGIN.sub("", line, count=1) for line in unstyle(said).splitlines() if _WORD.search(line)]
    whole = " ".join(line.strip() for line in _exception(lines))
    if len(whole) > _LONGEST:
        return f"{whole[:_BEGINNING]} … {whole[_BEGINNING + 3 - _LONGEST :]}"
    return whole or "".join(lines[-1:]).strip(" |")[:_LONGEST]


def _exception(lines: list[str]) -> list[str]:
    """The lines from the last exception on; empty where there is none."""
    above = next((place for place in reversed(range(len(lines))) if _ABOVE.match(lines[place])), None)
    if above is None:
        return []
    found = list(dropwhile(lambda line: line[0].isspace(), lines[above + 1 :]))
    return found if found and _EXCEPTION.match(found[0]) else []
