"""The live view of a run on a terminal: a bar, the time left, the best trials so far, and those that run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autoprune.cli._layers import draw, sparsities
from autoprune.cli._progress import clock, line_of, number, shorten, sparkline

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from autoprune.config import ExperimentConfig
    from autoprune.manager.journal import Listener, Notice


@dataclass(frozen=True)
class Success:
    """A trial that succeeded."""

    value: float
    trial: int
    parameters: Any
    layers: Mapping[str, float] = field(default_factory=dict)
    origin: str = ""


@dataclass
class Live:
    """The live view's state: what the store knew when the run began, and since then notices alone.

    `curve` is the best value after each success; `imported` of the trials in `counts` were not run here, and `repeats`
    ran others again.
    """

    name: str
    config: ExperimentConfig
    counts: Counter[str] = field(default_factory=Counter)
    elapsed_before: float = 0.0
    best: list[Success] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    imported: int = 0
    repeats: int = 0
    top: int = 5
    encoding: str = "utf-8"
    began: float = field(default_factory=time.monotonic)
    running: dict[int, Notice] = field(default_factory=dict)
    last: dict[int, float | None] = field(default_factory=dict)
    layers: dict[int, Mapping[str, float]] = field(default_factory=dict)
    warning: str = ""
    progress: str = ""

    def __post_init__(self) -> None:
        self.already = self.finished()

    def hear(self, notice: Notice) -> None:
        match notice["event"]:
            case "progress":
                self.progress = notice["message"]
            case "study_ended":
                self.progress = ""
            case "trial_started":
                self.progress = ""
                self.running[notice["trial"]] = {**notice, "began": time.monotonic()}
            case "intermediate_result" | "final_result":
                self.last[notice["trial"]] = notice["metrics"].get("default")
                self.layers[notice["trial"]] = sparsities(notice["metrics"])
            case "trial_ended":
                self._ended(notice)
            case "trial_retried":
                self.counts[notice["state"]] -= 1
                self.repeats -= "repeat_of" in notice
            case "trial_imported":
                self.counts["SUCCEEDED"] += 1
                self.imported += 1
                if notice.get("feasible", True):
                    self._succeeded(Success(notice["value"], notice["trial"], notice["parameters"]))
            case "experiment_updated":
                limits = {name: value for name, value in notice.items() if name not in ("event", "time")}
                self.config = type(self.config).from_json({**self.config.to_json(), **limits})
            case "warning":
                self.warning = line_of(notice)

    def _ended(self, notice: Notice) -> None:
        started = self.running.pop(notice["trial"], None)
        if notice["state"] == "WAITING":
            return
        self.counts[notice["state"]] += 1
        self.repeats += "repeat_of" in notice
        if notice["message"]:
            self.warning = line_of(notice)
        value = notice.get("value")
        layers = self.layers.pop(notice["trial"], {})
        may_lead = notice.get("feasible", True) and "repeat_of" not in notice
        if notice["state"] == "SUCCEEDED" and value is not None and may_lead:
            parameters, origin = started["parameters"] if started else {}, notice.get("origin", "")
            self._succeeded(Success(value, notice["trial"], parameters, layers, origin))

    def _succeeded(self, success: Success) -> None:
        """One more; of equal ones the first stays the best, as everywhere."""
        sign = -1 if self.config.optimize_mode == "maximize" else 1
        self.best = sorted([*self.best, success], key=lambda one: (sign * one.value, one.trial))[: max(self.top, 1)]
        self.curve.append(self.best[0].value)

    def finished(self) -> int:
        """How many trials of this experiment have finished, as maxTrialNumber counts them."""
        return sum(self.counts.values()) - self.imported - self.repeats

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
    live.encoding = console.encoding

    def hear(notice: Notice) -> None:
        if notice["event"] == "study_ended":
            console.print(line_of(notice), markup=False, highlight=False, soft_wrap=True)
        live.hear(notice)

    with Screen(console=console, get_renderable=lambda: render(live), refresh_per_second=4, transient=False):
        yield hear


def render(live: Live) -> RenderableType:
    """The whole view: a bar, the best trials and their course so far, and a row for each running trial."""
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
    repeats = live.repeats + sum("repeat_of" in notice for notice in live.running.values())
    then = f", then {repeats} repeat{'' if repeats == 1 else 's'}" if repeats else ""
    head.add_row(Text(live.name, style="bold"), bar, f"{counted} trials{then}", elapsed, time_left)
    states = "  ".join(f"{state.lower()} {count}" for state, count in sorted(live.counts.items()) if count)
    rows = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    for title, width in (("running", 9), ("for", 5), ("last", 7), ("parameters", None)):
        rows.add_column(title, no_wrap=True, overflow="ellipsis", min_width=width)
    for trial, notice in sorted(live.running.items()):
        running_for = clock(time.monotonic() - notice["began"])
        rows.add_row(f"trial {trial}", running_for, number(live.last.get(trial)), shorten(notice["parameters"], 90))
    lines: list[RenderableType] = [head, *_best(live)]
    if live.best:
        lines += draw(live.best[0].layers, live.encoding)
    if live.running:
        lines.append(rows)
    if live.progress:
        lines.append(Text(live.progress, style="dim", overflow="ellipsis", no_wrap=True))
    if states:
        lines.append(Text(states, style="dim"))
    if live.warning:
        lines.append(Text(live.warning, style="yellow", overflow="ellipsis", no_wrap=True))
    return Group(*lines)


def _best(live: Live) -> list[Text]:
    """The best trials, a line each, and the course of the best value."""
    from rich.text import Text

    if not live.best:
        return [Text("best  none yet", style="dim")]
    lines = [
        Text.assemble(
            "      " if place else "best  ",
            (number(success.value), "green" if place else "bold green"),
            f"  trial {success.trial}  ",
            (f"{success.origin}  " if success.origin else "", "cyan"),
            shorten(success.parameters, 90),
            overflow="ellipsis",
            no_wrap=True,
        )
        for place, success in enumerate(live.best)
    ]
    course = sparkline(live.curve, live.encoding)
    return [*lines, Text(f"      {course}", style="green")] if course else lines
