"""The live view: what it says, and that a terminal gets it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autoprune.cli._layers import WIDTH, bar
from autoprune.cli._live import Live, Success, render
from autoprune.cli._progress import clock, line_of, shorten, sparkline
from autoprune.config import ExperimentConfig


def live(**fields: Any) -> Live:
    base = {
        "experimentName": "exp",
        "searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}},
        "trialCommand": "python trial.py",
        "trialCodeDirectory": str(Path.cwd()),
        "maxTrialNumber": 4,
    }
    return Live("exp-1", ExperimentConfig.from_json({**base, **fields}))


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
    assert [(one.trial, one.value) for one in view.best] == [(1, 0.2), (0, 0.5), (2, 0.9)]
    assert view.curve == [0.5, 0.2, 0.2]


def test_what_went_wrong_is_said_and_never_the_best() -> None:
    view = live()
    for number, state in enumerate(["FAILED", "EARLY_STOPPED", "INVALID"]):
        view.hear(started(number, 0.5))
        view.hear(ended(number, state, 5.0 if state == "EARLY_STOPPED" else None, f"message {number}"))
    view.hear(started(3, 0.5))
    view.hear(ended(3, "WAITING", None, "runs again"))
    text = shown(view)
    assert view.best == []
    assert "message 2" in text
    assert "early_stopped 1  failed 1  invalid 1" in text
    assert "3/4 trials" in text


def test_it_lists_so_many_of_the_best_and_draws_their_course() -> None:
    view = live(maxTrialNumber=20)
    view.top = 2
    for number, value in enumerate([0.1, 0.9, 0.5, 0.9]):
        view.hear(started(number, value / 2))
        view.hear(ended(number, "SUCCEEDED", value))
    assert [one.trial for one in view.best] == [1, 3]
    lines = [line.rstrip() for line in shown(view).splitlines()]
    assert lines[1:4] == ["best  0.9  trial 1  x=0.45", "      0.9  trial 3  x=0.45", "      ▁███"]
    view.encoding = "ascii"
    assert "█" not in shown(view)


def reported(number: int, value: float, **layers: float) -> dict[str, Any]:
    told = {name: {"sparsity": sparsity} for name, sparsity in layers.items()}
    metrics = {"default": value, "layers": told}
    return {"event": "final_result", "time": "t", "trial": number, "metrics": metrics}


def test_of_a_task_it_draws_the_layers_of_the_best() -> None:
    view = live()
    for number, value in enumerate([0.5, 0.9]):
        view.hear(started(number, value))
        view.hear(reported(number, value, conv1=value / 2, fc=1.0))
        view.hear(ended(number, "SUCCEEDED", value))
    text = shown(view)
    assert re.search(r"conv1 +█{10}▊ +45\.00%", text)
    assert re.search(r"fc +█{24} 100\.00%", text)
    view.encoding = "ascii"
    assert re.search(r"conv1 +#{10}\.{14} +45\.00%", shown(view))


def test_of_many_layers_it_draws_some() -> None:
    view = live()
    view.hear(started(0, 0.5))
    view.hear(reported(0, 0.5, **{f"stage{number}.with.a.very.long.name.of.a.layer": 0.5 for number in range(20)}))
    view.hear(ended(0, "SUCCEEDED", 0.5))
    text = shown(view)
    assert "and 4 more layers" in text
    assert "…" in text


def test_it_shows_what_prepares_the_search() -> None:
    view = live()
    view.hear({"event": "progress", "time": "t", "message": "scan 3/60 conv1 0.9"})
    assert "scan 3/60 conv1 0.9" in shown(view)
    view.hear(started(0, 0.5))
    assert "scan" not in shown(view)


@given(st.floats(0, 1))
def test_bars_are_as_wide_as_all_others(share: float) -> None:
    assert len(bar(share, "utf-8")) == len(bar(share, "ascii")) == WIDTH


def test_it_goes_on_from_what_the_store_knew() -> None:
    config = live().config
    before = [Success(0.5, 7, {"x": 0.5})]
    counts = Counter(SUCCEEDED=3, FAILED=1)
    view = Live("exp-1", config, counts, elapsed_before=60.0, best=before, curve=[0.25, 0.5], imported=2)
    text = shown(view)
    assert "2/4 trials" in text
    assert "0.5  trial 7  x=0.5" in text
    assert "▁█" in text


def test_it_hears_of_changes() -> None:
    view = live()
    view.hear(started(0, 0.5))
    view.hear(ended(0, "FAILED", None, "exit code 1"))
    view.hear({"event": "trial_retried", "time": "t", "trial": 0, "state": "FAILED"})
    assert "0/4 trials" in shown(view)
    assert "failed" not in shown(view)
    arrival = {"trial": 1, "value": 0.75, "parameters": {"x": 0.1}, "message": "imported from nni.json"}
    view.hear({"event": "trial_imported", "time": "t", **arrival})
    view.hear({"event": "experiment_updated", "time": "t", "maxTrialNumber": 9, "maxExperimentDuration": None})
    text = shown(view)
    assert "0/9 trials" in text, "what was imported was not run here"
    assert "best  0.75  trial 1  x=0.1" in text


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False)), width=st.integers(1, 60))
def test_a_sparkline_is_bounded_and_as_high_as_its_values(values: list[float], width: int) -> None:
    drawn = sparkline(values, "utf-8", width)
    count = min(len(values), width)
    assert len(drawn) == (count if count > 1 else 0)
    if drawn:
        assert set(drawn) <= set("▁▂▃▄▅▆▇█")
        rising = sparkline(sorted(values), "utf-8", width)
        assert sorted(rising) == list(rising)
        if rising[0] != rising[-1]:
            assert (rising[0], rising[-1]) == ("▁", "█")


def test_what_changes_is_said_in_a_line() -> None:
    assert line_of({"event": "trial_retried", "time": "t", "trial": 3, "state": "FAILED"}) == (
        "trial 3 runs again; it was FAILED"
    )
    assert line_of(
        {"event": "trial_imported", "time": "t", "trial": 4, "value": 0.5, "message": "imported from f"}
    ) == ("trial 4 imported from f: 0.5")
    assert line_of({"event": "experiment_updated", "time": "t", "trialConcurrency": 2, "maxTrialNumber": None}) == (
        "limits updated: trialConcurrency 2, maxTrialNumber none"
    )


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
