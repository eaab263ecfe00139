"""One trial, as `best` and `trial show` print it."""

from __future__ import annotations

import json
from pathlib import Path

from autoprune.cli._progress import number
from autoprune.cli._tables import print_fields, print_heading
from autoprune.records import JSON
from autoprune.results.export import leaves
from autoprune.results.models import Attempt, Best, TrialDetail
from autoprune.results.shapes import came_from
from autoprune.search_space import unescaped


def repeated(best: Best) -> str:
    """What the repeats of the best trial say; empty without them."""
    if best.mean is None:
        return ""
    noise = "" if best.noise is None else f"; one result has a standard deviation of {number(best.noise)}"
    return f"{number(best.mean)}, the mean of {best.repeats} repeat{'' if best.repeats == 1 else 's'}{noise}"


def show_trial(trial: TrialDetail, folder: Path, repeats: str = "") -> None:
    print_fields(
        [
            ("trial", str(trial.number)),
            ("state", trial.state.value),
            ("value", number(trial.value)),
            ("repeated", repeats),
            ("from", came_from(trial)),
            ("feasible", "" if trial.feasible else "no"),
            ("message", trial.message),
            ("started", trial.started or ""),
            ("ended", trial.ended or ""),
            ("seconds", "" if trial.duration is None else f"{trial.duration:.1f}"),
            ("folder", str(folder)),
        ]
    )
    _section("parameters", trial.parameters)
    _section("metrics", trial.metrics)
    if len(trial.runs) > 1 or any(run.message for run in trial.runs):
        print_heading("attempts")
        print_fields([(f"  {run.attempt}", _ending(run)) for run in trial.runs])


def _section(heading: str, tree: dict[str, JSON]) -> None:
    if tree:
        print_heading(heading)
        print_fields([(f"  {unescaped(path)}", _value(value)) for path, value in leaves(tree)])


def _value(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _ending(run: Attempt) -> str:
    if run.ended is None:
        return f"runs since {run.started}"
    if run.signal is not None:
        how = f"ended by signal {run.signal}"
    else:
        how = "ended unseen" if run.exit_code is None else f"exit code {run.exit_code}"
    return f"{how} at {run.ended}" + (f": {run.message}" if run.message else "")
