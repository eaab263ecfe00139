"""An attempt that runs, as the loop knows it."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.manager.verdict import Cut
from autoprune.protocol import ReportReader
from autoprune.records import Metric, TrialSpec


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
