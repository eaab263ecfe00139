"""An attempt that runs, as the loop knows it, and what its files say at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoprune.manager.verdict import Cut
from autoprune.protocol import STDERR, ReportReader
from autoprune.records import Metric, TrialSpec

_WORD = re.compile(r"\w")


@dataclass
class Running:
    """An attempt that runs, and what it has reported. One that is not `judged` is left alone by the assessor."""

    spec: TrialSpec
    started: float
    reader: ReportReader
    judged: bool = False
    final: Metric | None = None
    last: Metric | None = None
    cut: Cut | None = None
    reason: str = ""

    @property
    def reported(self) -> bool:
        return self.final is not None or self.last is not None


def last_line(spec: TrialSpec) -> str:
    """What the attempt's standard error says last: the error, in most languages."""
    try:
        with (spec.folder / STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if _WORD.search(line)]
    except OSError:
        return ""
    return lines[-1].strip(" |")[:300] if lines else ""
