"""The live view: what it says, and that a terminal gets it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from autoprune.cli._live import Live, render
from autoprune.cli._progress import clock, line_of, shorten
from autoprune.config import ExperimentConfig


def live(**fields: Any) -> Live:
    base = {
        "experimentName": "exp",
        "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
        "trialCommand": "python trial.py",
        "trialCodeDirectory": str(Path.cwd()),
        "maxTrialNumber": 4,
    }
    return Live("exp-1", ExperimentConfig.from_json({**base, **fields}), None, Counter(), 0.0)


def shown(view: Live) -> str:
    console = Console(file=StringIO(), width=110, no_color=True, record=True)
    console.print(render(view))
    return console.export_text()


def started(number: int, x: float) -> dict[str, Any]:
    return {"event": "trial_started", "time": "t", "trial": number, "attempt": 0, "parameters": {"x": x}}


def ended(number: int, state: str, value: float | None, message: str = "") -> dict[str, Any]:
    return {"event": "trial_ended", "time": "t", "trial": number, "state": state, "value": value, "message": message}


def test_it_shows_progress_the_best_and_what_runs() -> None:
    view = live()
    assert "none yet" in shown(view)
    for notice in (started(0, 0.25), started(1, 0.75), ended(0, "SUCCEEDED", 0.9), started(2, 0.5)):
        view.hear(notice)
    view.hear({"event": "intermediate_result", "time": "t", "trial": 1, "metrics": {"default": 0.123}})
    text = shown(view)
    assert "1/4 trials" in text
    assert "0.9  trial 0  x=0.25" in text
    assert "trial 1" in text
    assert "0.123" in text
    assert "x=0.5" in text
    assert "left" in text


def test_the_best_is_the_smallest_when_minimizing() -> None:
    view = live(tuner={"name": "TPE", "classArgs": {"optimize_mode": "minimize"}})
    for number, value in enumerate([0.5, 0.2, 0.9]):
        view.hear(started(number, value))
        view.hear(ended(number, "SUCCEEDED", value))
    assert (view.best_trial, view.best_value) == (1, 0.2)


def test_what_went_wrong_is_said_and_never_the_best() -> None:
    view = live()
    for number, state in enumerate(["FAILED", "EARLY_STOPPED", "INVALID"]):
        view.hear(started(number, 0.5))
        view.hear(ended(number, state, 5.0 if state == "EARLY_STOPPED" else None, f"message {number}"))
    view.hear(started(3, 0.5))
    view.hear(ended(3, "WAITING", None, "runs again"))
    text = shown(view)
    assert view.best_value is None
    assert "message 2" in text
    assert "early_stopped 1  failed 1  invalid 1" in text
    assert "3/4 trials" in text


def test_words() -> None:
    assert clock(59.9) == "0:59"
    assert clock(3723) == "1:02:03"
    assert shorten({"m": {"_name": "agp", "s": 0.123456}, "n": 3}) == "m=agp s=0.1235 n=3"
    assert len(shorten({"long": "x" * 200})) == 70
    line = line_of({"event": "intermediate_result", "time": "t", "trial": 1, "metrics": {"default": None}})
    assert line == "trial 1 reports -"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_a_terminal_gets_it(tmp_path: Path, terminal: tuple[int, int]) -> None:
    (tmp_path / "trial.py").write_text(
        "import autoprune\nautoprune.report_final_result(autoprune.get_parameters()['x'])\n"
    )
    config = {
        "searchSpace": {"x": {"_type": "choice", "_value": [0.25]}},
        "trialCommand": "python trial.py",
        "maxTrialNumber": 2,
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    ours, theirs = terminal
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "110"}
    command = [sys.executable, "-m", "autoprune", "run", "config.yml", "--no-server"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    screen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        screen += data
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"2/2 trials" in screen
    assert b"0.25" in screen
    assert b"best: trial 0 with 0.25" in output
