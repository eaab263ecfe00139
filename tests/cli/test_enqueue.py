"""`autoprune trial enqueue`, with a manager that runs, that was killed, and without one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import SLOW, Autoprune
from .test_change_commands import GATED, detached, said, states, trials_of, wait_for

__all__ = ["detached"]


def test_a_running_experiment_runs_it(detached: Callable[..., str], autoprune: Autoprune, tmp_path: Path) -> None:
    id = detached(maxTrialNumber=3)
    wait_for(lambda: states(autoprune) == ["FAILED", "RUNNING"])
    text = said(autoprune, "trial", "enqueue", "small", "--parameters", '{"x": 0.625}  // by hand')
    assert text == f"trial 2 of {id} has these parameters\n"
    (tmp_path / "go").touch()
    wait_for(lambda: states(autoprune) == ["FAILED", "SUCCEEDED", "SUCCEEDED"])
    assert trials_of(autoprune)[2]["value"] == 0.625


def test_without_a_manager_it_waits_for_resume(
    config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    for name in ("go", "mended"):
        (tmp_path / name).touch()
    autoprune("run", str(config(GATED)), "--quiet", "--no-server")
    (tmp_path / "p.yml").write_text("x: 1e-1\n")
    full = autoprune("trial", "enqueue", "--parameters", "p.yml")
    assert (full.returncode, "--max-trials 4" in full.stderr) == (2, True)
    said(autoprune, "update", "--max-trials", "4")
    assert "go on with: autoprune resume" in said(autoprune, "trial", "enqueue", "--parameters", "p.yml")
    said(autoprune, "resume", "small", "--quiet", "--no-server")
    assert [trial["parameters"]["x"] for trial in trials_of(autoprune)][3] == 0.1


def test_a_killed_manager_has_neither_lost_nor_doubled_it(
    running: Callable[..., object], config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    process = running("run", str(config(SLOW)))
    said(autoprune, "trial", "enqueue", "--parameters", '{"x": 0.625}')
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    process.wait()  # type: ignore[attr-defined]
    config("import autoprune\nautoprune.report_final_result(autoprune.get_parameters()['x'])")
    said(autoprune, "resume", "small", "--quiet", "--no-server")
    every = trials_of(autoprune)
    assert [trial["state"] for trial in every] == ["SUCCEEDED"] * 3
    assert [trial["number"] for trial in every if trial["parameters"] == {"x": 0.625}] == [1]


@pytest.mark.parametrize(
    ("given", "said_of_it"),
    [
        ('{"x": 2}', "x: given 2"),
        ('{"x": 0.5, "x": 0.6}', "--parameters:1:"),
        ("{", "--parameters"),
        ("nowhere.json", "nowhere.json"),
        ("list.json", "given a list; expected a table of parameters"),
    ],
)
def test_parameters_that_are_none(
    config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path, given: str, said_of_it: str
) -> None:
    autoprune("run", str(config(maxTrialNumber=1)), "--quiet", "--no-server")
    (tmp_path / "list.json").write_text(json.dumps([1]))
    done = autoprune("trial", "enqueue", "--parameters", given)
    assert done.returncode == 2
    assert said_of_it in done.stderr
    assert len(trials_of(autoprune)) == 1
