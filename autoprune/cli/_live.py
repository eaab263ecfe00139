"""The live view of a run on a terminal: a bar, the time left, the best so far, and the trials that run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autoprune.cli._progress import clock, line_of, number, shorten

if TYPE_CHECKING:
    from rich.console import RenderableType

    from autoprune.config import ExperimentConfig
    from autoprune.manager.journal import Listener, Notice
    from autoprune.records import Trial


@dataclass
class Live:
    """The live view's state, built from notices alone: what ran, what runs, and the best so far."""

    name: str
    config: ExperimentConfig
    best: Trial | None
    counts: Counter[str]
    elapsed_before: float
    began: float = field(default_factory=time.monotonic)
    running: dict[int, Notice] = field(default_factory=dict)
    last: dict[int, float | None] = field(default_factory=dict)
    best_value: float | None = None
    best_trial: int | None = None
    best_parameters: Any = None
    warning: str = ""

    def __post_init__(self) -> None:
        self.already = self.finished()
        if self.best is not None:
            self.best_trial, self.best_value = self.best.number, self.best.value
            self.best_parameters = self.best.parameters

    def hear(self, notice: Notice) -> None:
        match notice["event"]:
            case "trial_started":
                self.running[notice["trial"]] = {**notice, "began": time.monotonic()}
            case "intermediate_result" | "final_result":
                self.last[notice["trial"]] = notice["metrics"].get("default")
            case "trial_ended":
                self._ended(notice)
            case "warning":
                self.warning = line_of(notice)

    def _ended(self, notice: Notice) -> None:
        started = self.running.pop(notice["trial"], None)
        if notice["state"] == "WAITING":
            return
        self.counts[notice["state"]] += 1
        if notice["message"]:
            self.warning = line_of(notice)
        value = notice.get("value")
        if notice["state"] == "SUCCEEDED" and value is not None and self._better(value):
            self.best_trial, self.best_value = notice["trial"], value
            self.best_parameters = started["parameters"] if started else None

    def _better(self, value: float) -> bool:
        if self.best_value is None:
            return True
        return value > self.best_value if self.config.optimize_mode == "maximize" else value < self.best_value

    def finished(self) -> int:
        return sum(self.counts.values())

    def left(self) -> float | None:
        """Seconds left, by the pace so far and the limits; None while nothing tells."""
        elapsed = time.monotonic() - self.began
        guesses = []
        done = self.finished() - self.already
        if self.config.max_trial_number and done:
            guesses.append(elapsed / done * (self.config.max_trial_number - self.finished()))
        if self.config.max_experiment_duration:
            guesses.append(self.config.max_experiment_duration - self.elapsed_before - elapsed)
        return max(0.0, min(guesses)) if guesses else None


@contextmanager
def live_view(live: Live) -> Iterator[Listener]:
    """Draw `live` on the terminal until the run is over."""
    from rich.console import Console
    from rich.live import Live as Screen

    console = Console(stderr=True)
    with Screen(console=console, get_renderable=lambda: render(live), refresh_per_second=4, transient=False):
        yield live.hear


def render(live: Live) -> RenderableType:
    """The whole view: a bar, the best, and a row for each running trial."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total = live.config.max_trial_number
    head = Table.grid(padding=(0, 2))
    left = live.left()
    counted = f"{live.finished()}/{total}" if total else str(live.finished())
    bar = ProgressBar(total=total, completed=live.finished(), width=36, pulse=total is None)
    time_left = "" if left is None else f"{clock(left)} left"
    elapsed = clock(live.elapsed_before + time.monotonic() - live.began)
    head.add_row(Text(live.name, style="bold"), bar, f"{counted} trials", elapsed, time_left)
    states = "  ".join(f"{state.lower()} {count}" for state, count in sorted(live.counts.items()))
    best: RenderableType = Text("best  none yet", style="dim")
    if live.best_value is not None:
        shown = shorten(live.best_parameters or {}, 90)
        best = Text.assemble("best  ", (number(live.best_value), "bold green"), f"  trial {live.best_trial}  {shown}")
    rows = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    for title in ("running", "for", "last", "parameters"):
        rows.add_column(title, no_wrap=True, overflow="ellipsis")
    for trial, notice in sorted(live.running.items()):
        running_for = clock(time.monotonic() - notice["began"])
        rows.add_row(f"trial {trial}", running_for, number(live.last.get(trial)), shorten(notice["parameters"], 90))
    lines: list[RenderableType] = [head, best]
    if live.running:
        lines.append(rows)
    if states:
        lines.append(Text(states, style="dim"))
    if live.warning:
        lines.append(Text(live.warning, style="yellow", overflow="ellipsis", no_wrap=True))
    return Group(*lines)
