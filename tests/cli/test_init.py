"""`autoprune init`: what it writes is a valid experiment, and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from autoprune.config import load

FILES = {"README.md", "config.yml", "search_space.json", "trial.py"}


def autoprune(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
    command = [sys.executable, "-m", "autoprune", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_writes_a_valid_experiment_here(tmp_path: Path) -> None:
    result = autoprune(tmp_path, "init")
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) == names(tmp_path) == FILES
    assert "autoprune run config.yml" in result.stderr
    assert autoprune(tmp_path, "validate", "config.yml").returncode == 0
    assert load(tmp_path / "config.yml").notes == ()


def test_it_makes_the_folder_and_prints_the_next_command_as_a_shell_reads_it(tmp_path: Path) -> None:
    result = autoprune(tmp_path, "init", "of mine/first")
    assert result.returncode == 0, result.stderr
    assert names(tmp_path / "of mine" / "first") == FILES
    assert "autoprune run 'of mine/first/config.yml'" in result.stderr


def test_it_writes_over_nothing(tmp_path: Path) -> None:
    for name in ("trial.py", "config.yml"):
        (tmp_path / name).write_text("mine")
    result = autoprune(tmp_path, "init")
    assert result.returncode == 2
    assert "already has config.yml, trial.py" in result.stderr
    assert names(tmp_path) == {"trial.py", "config.yml"}
    assert (tmp_path / "trial.py").read_text() == "mine"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    result = autoprune(tmp_path, "init", "taken")
    assert result.returncode == 2
    assert "cannot write to taken" in result.stderr


def test_the_names_of_the_space_are_those_of_the_script() -> None:
    example = files("autoprune.cli") / "_example"
    script = (example / "trial.py").read_text()
    space = load(Path(str(example / "config.yml"))).config.space
    assert [name for name in space.members if f'"{name}"' not in script and f"{name}=" not in script] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs(tmp_path: Path) -> None:
    assert autoprune(tmp_path, "init").returncode == 0
    result = autoprune(tmp_path, "run", "config.yml", "--max-trials", "2", "--no-server")
    assert result.returncode == 0, result.stderr
    trials = json.loads(autoprune(tmp_path, "trials", "--json").stdout)["items"]
    assert [trial["state"] for trial in trials] == ["SUCCEEDED"] * 2
    assert all(trial["metrics"]["sparsity"] == pytest.approx(0.9, abs=1e-4) for trial in trials)
    assert max(trial["value"] for trial in trials) > 0.8
    assert len(list(tmp_path.glob("autoprune-experiments/*/trials/*/output/model.pt"))) == 2


TASK_FILES = {"README.md", "config.yml", "task.py"}


def test_a_task_is_written_on_request(tmp_path: Path) -> None:
    result = autoprune(tmp_path, "init", "--task", "mine")
    assert result.returncode == 0, result.stderr
    assert names(tmp_path / "mine") == TASK_FILES
    assert "autoprune run mine/config.yml" in result.stderr
    assert autoprune(tmp_path, "validate", "mine/config.yml").returncode == 0
    assert load(tmp_path / "mine" / "config.yml").notes == ()
    again = autoprune(tmp_path, "init", "--task", "mine")
    assert again.returncode == 2
    assert "already has README.md, config.yml, task.py" in again.stderr


def test_validate_finds_what_is_wrong_with_a_task(tmp_path: Path) -> None:
    assert autoprune(tmp_path, "init", "--task").returncode == 0
    task = tmp_path / "task.py"
    task.write_text(task.read_text().replace("def evaluate", "def evaluates"))
    result = autoprune(tmp_path, "validate", "config.yml")
    assert result.returncode == 2
    assert "task.py:Task: given a task without evaluate" in result.stderr
    assert "(evaluates should be called evaluate)" in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_task_runs(tmp_path: Path) -> None:
    assert autoprune(tmp_path, "init", "--task").returncode == 0
    result = autoprune(tmp_path, "run", "config.yml", "--max-trials", "2", "--set", "search.repeats=0", "--no-server")
    assert result.returncode == 0, result.stderr
    assert "prepares the model" in result.stderr
    assert "scan 1/" in result.stderr
    trials = json.loads(autoprune(tmp_path, "trials", "--json").stdout)["items"]
    assert [trial["state"] for trial in trials] == ["SUCCEEDED"] * 2
    assert all(trial["metrics"]["sparsity"] == pytest.approx(0.9, abs=1e-3) for trial in trials)
    assert "conv1" in autoprune(tmp_path, "scan").stdout
