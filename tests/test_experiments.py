"""The experiments that the repository ships: they run to their end, and meet their budgets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from config_examples import SEED_SPACE, SEED_YAML

from autoprune.compression.core.formulas import pruned_count
from autoprune.config import load

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SIZES = {"digits": 144 + 4608, "digits-v2": 144 + 4608 + 5120}
TARGETS = {"digits": 0.8, "digits-v2": 0.9}


def autoprune(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
    command = [sys.executable, "-m", "autoprune", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def trials(folder: Path) -> list[dict[str, object]]:
    items: list[dict[str, object]] = json.loads(autoprune(folder, "trials", "--json").stdout)["items"]
    return items


@pytest.mark.parametrize(
    "file", sorted(EXPERIMENTS.glob("*/*.yml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_experiment_is_valid(file: Path) -> None:
    load(file)
    readme = (file.parent / "README.md").read_text()
    assert file.name in readme or "*.yml" in readme


def test_the_digits_search_space_is_the_published_one() -> None:
    assert (EXPERIMENTS / "digits" / "search_space.json").read_text() == SEED_SPACE


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(SIZES))
def test_the_best_trial_is_at_the_target(tmp_path: Path, name: str) -> None:
    shutil.copytree(EXPERIMENTS, tmp_path / "experiments", ignore=shutil.ignore_patterns(".cache", "autoprune-*"))
    config = f"experiments/{name}/config.yml"
    result = autoprune(tmp_path, "run", config, "--max-trials", "6", "--no-server")
    assert result.returncode == 0, result.stderr
    best = json.loads(autoprune(tmp_path, "best", "--json").stdout)
    assert best["metrics"]["sparsity"] == pytest.approx(pruned_count(SIZES[name], TARGETS[name]) / SIZES[name])
    assert best["value"] > 0.5
    values = [trial["value"] for trial in trials(tmp_path) if trial["state"] == "SUCCEEDED"]
    assert best["value"] == max(value for value in values if isinstance(value, float))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_published_nni_experiment_runs_as_printed(tmp_path: Path) -> None:
    """Only the command and the number of trials are changed."""
    shutil.copytree(EXPERIMENTS / "digits", tmp_path / "code", ignore=shutil.ignore_patterns(".cache", "config.yml"))
    config = SEED_YAML.replace("bash run_prune.sh", "python trial.py").replace("maxTrialNum: 500", "maxTrialNum: 3")
    (tmp_path / "code" / "config.yml").write_text(config)
    (tmp_path / "code" / "search_space.json").write_text(SEED_SPACE)
    refused = autoprune(tmp_path, "run", "code/config.yml", "--set", "trialGpuNumber=99")
    assert refused.returncode == 2
    assert "--set trialGpuNumber=0" in refused.stderr
    result = autoprune(tmp_path, "run", "code/config.yml", "--set", "trialGpuNumber=0", "--no-server")
    assert result.returncode == 0, result.stderr
    assert [trial["state"] for trial in trials(tmp_path)] == ["SUCCEEDED"] * 3


TASKS = {
    "fashion-lenet300/config.yml": ("sparsity", 0.95),
    "fashion-lenet5/config.yml": ("sparsity", 1 - 6050 / 430_500),
    "fashion-lenet5/by_hand.yml": ("sparsity", 1 - 6050 / 430_500),
    "fashion-resnet8/config.yml": ("sparsity", 0.95),
    "fashion-resnet8/macs.yml": ("macs", 0.35 * 2_552_000),
    "digits-auto/config.yml": ("macs", 0.25 * 157_312),
}
"""What each experiment with a task keeps to: a sparsity, or multiply-accumulates."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_trial_of_a_task_meets_its_budget(tmp_path: Path, name: str) -> None:
    """On the digits, which need no data set."""
    shutil.copytree(EXPERIMENTS, tmp_path / "experiments", ignore=shutil.ignore_patterns(".cache", "autoprune-*"))
    quick = ["taskArguments.prepare_epochs=2", "search.scan=false", "search.repeats=1"]
    if name.startswith("fashion"):
        quick.append("taskArguments.data=digits")
    options = [word for each in quick for word in ("--set", each)]
    result = autoprune(tmp_path, "run", f"experiments/{name}", "--max-trials", "3", "--no-server", *options)
    assert result.returncode == 0, result.stderr
    found = trials(tmp_path)
    assert {trial["state"] for trial in found} == {"SUCCEEDED"}
    metric, amount = TASKS[name]
    for trial in found:
        metrics = trial["metrics"]
        assert isinstance(metrics, dict)
        if metric == "sparsity":
            assert metrics[metric] == pytest.approx(amount, abs=1e-9)
        else:
            assert 0.95 * amount < metrics[metric] <= amount
