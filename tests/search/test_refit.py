"""From a search to its model, and to that of any trial once more: real runs, and what the commands say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from sample_workspace import Sample

from autoprune import probe
from autoprune.cli.main import cli
from autoprune.errors import UsageError
from autoprune.records import TrialState
from autoprune.store import Workspace, experiments, models, trials
from tests.search.bench import TASKS

GROUPS = ("1", "3", "5")


def parameters(*sparsities: float) -> dict[str, Any]:
    own = {f"{group}_sparsity": sparsity for group, sparsity in zip(GROUPS, sparsities, strict=True)}
    return {"prune_method": {"_name": "level", **own}}


def config(folder: Path, task: str = "Points", **fields: Any) -> Path:
    settings = {
        "experimentName": "small",
        "task": f"{TASKS}:{task}",
        "budget": {"sparsity": 0.8},
        "maxTrialNumber": 2,
        "tuner": {"name": "Random", "classArgs": {"seed": 3}},
        "search": {"heuristics": False, "scan": False, "leaders": 1, "repeats": 1, "finalEpochs": 2},
        "startingPoints": [parameters(0.8, 0.8, 0.8)],
    }
    (folder / "config.yml").write_text(yaml.safe_dump({**settings, **fields}))
    return folder / "config.yml"


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "autoprune", *arguments, "--workspace", str(folder / "workspace")]


def autoprune(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
    return subprocess.run(command(folder, *arguments), env=environment, capture_output=True, text=True, check=False)


def equal(one: Path, other: Path) -> bool:
    tensors = [load_file(each) for each in (one, other)]
    return tensors[0].keys() == tensors[1].keys() and all(
        torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0]
    )


@pytest.fixture
def search(fresh: Sample) -> Sample:
    """An experiment with a task, as the store knows it."""
    with fresh.store.write() as tx:
        stored = experiments.get(tx, fresh.id)
        task = {"task": f"{TASKS}:Points", "searchSpace": {}, "trialCodeDirectory": str(TASKS.parent)}
        experiments.set_config(tx, fresh.id, {**stored.config, **task})
    return fresh


def refit(sample: Sample, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["refit", *arguments, "--workspace", str(sample.workspace.root)])


def test_an_experiment_without_a_task_has_no_model(sample: Sample) -> None:
    done = refit(sample, "--trial", "0")
    assert done.exit_code == 2
    assert "expected an experiment with a task" in done.stderr


def test_a_trial_that_is_not_there(search: Sample) -> None:
    search.add(0)
    done = refit(search, "--trial", "4")
    assert (done.exit_code, done.stderr) == (2, f"error: experiment {search.id} has no trial 4; it has 0 to 0\n")


def test_a_copy_makes_the_model_of_the_trial_whose_result_it_has(
    search: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, copied in enumerate(({}, {"same_as": 0})):
        search.add(number, parameters(0.5 + number / 10, 0.5, 0.5))
        search.start(number)
        search.finish(number, TrialState.SUCCEEDED, 90.0, values={"default": 90.0, **copied})
    asked: list[Any] = []

    def ask(module: str, task: str, request: Any, **_: Any) -> Any:
        asked.append(request)
        raise UsageError("far enough")

    monkeypatch.setattr(probe, "ask", ask)
    done = refit(search, "--trial", "1")
    assert "trial 1 has the result of trial 0" in done.stderr
    (candidate,) = asked[0]["candidates"]
    assert candidate["parameters"] == parameters(0.5, 0.5, 0.5)
    assert [run["trial"] for run in candidate["runs"]] == [0]
    assert asked[0]["out"].endswith("refit/1")


def test_no_best_trial_yet(search: Sample) -> None:
    search.add(0)
    done = refit(search)
    assert done.exit_code == 2
    assert "no trial" in done.stderr


def test_the_best_model_waits_for_the_manager(search: Sample) -> None:
    with search.workspace.lock(search.id):
        done = refit(search)
    assert done.exit_code == 75


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, subprocess.CompletedProcess[str]]:
    """A folder with a workspace, the experiment in it, and the run that made it."""
    folder = tmp_path_factory.mktemp("search")
    done = autoprune(folder, "run", str(config(folder)), "--no-server")
    workspace = Workspace(folder / "workspace")
    store = workspace.open()
    with store.read() as tx:
        experiment = experiments.resolve(tx, None)
    store.close()
    return folder, experiment, done


@pytest.mark.slow
def test_a_run_ends_with_a_model(finished: tuple[Path, str, subprocess.CompletedProcess[str]]) -> None:
    folder, experiment, done = finished
    assert done.returncode == 0, done.stderr
    workspace = Workspace(folder / "workspace")
    best = workspace.folder(experiment) / "best"
    result = json.loads((best / "result.json").read_text())
    assert f"model: {best / 'model.safetensors'} (trial {result['trial']}): {result['said']}" in done.stdout
    assert result["verdict"]["said"] in done.stdout
    assert f"card: {best / 'card.md'}; once more: {result['again']}" in done.stdout
    assert f"report: {best / 'report.html'}" in done.stdout
    assert "DONE: maxTrialNumber reached" in (best / "report.html").read_text(encoding="utf-8")
    assert result["budget"]["achieved"] == pytest.approx(0.8, abs=0.001)
    store = workspace.open()
    with store.read() as tx:
        assert models.result(tx, experiment) == result
        every = trials.all(tx, experiment)
    store.close()
    assert {trial.state for trial in every} == {TrialState.SUCCEEDED}
    values = {trial.number: trial.value for trial in every}
    kept = {trial.number for trial in every if trial.origin or trial.repeat_of is not None}
    assert {number for number in values if (workspace.output(experiment, number) / "kept").exists()} == kept
    assert result["trial"] in kept
    assert values[result["trial"]] == result["validation"]["trained"]["default"]


@pytest.mark.slow
def test_any_trial_once_more(finished: tuple[Path, str, subprocess.CompletedProcess[str]]) -> None:
    folder, experiment, _ = finished
    home = Workspace(folder / "workspace").folder(experiment)
    best = home / "best"
    made = json.loads((best / "result.json").read_text())
    done = autoprune(folder, *made["again"].split()[1:])
    assert done.returncode == 0, done.stderr
    again = home / "refit" / str(made["trial"])
    assert equal(again / "model.safetensors", best / "model.safetensors")
    assert f"model: {again / 'model.safetensors'}" in done.stdout
    assert json.loads((again / "result.json").read_text())["validation"] == made["validation"]
    (folder / "taken").mkdir()
    (folder / "taken" / "notes").touch()
    refused = autoprune(folder, "refit", "--trial", "0", "--out", str(folder / "taken"))
    assert refused.returncode == 2
    assert "which has notes" in refused.stderr
    shown = autoprune(
        folder, "refit", experiment[:8], "--trial", "1", "--epochs", "0", "--out", str(folder / "o"), "--json"
    )
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == json.loads((folder / "o" / "result.json").read_text())
    assert json.loads(shown.stdout)["further"] == 0


@pytest.mark.slow
def test_the_best_model_once_more(finished: tuple[Path, str, subprocess.CompletedProcess[str]]) -> None:
    folder, experiment, _ = finished
    best = Workspace(folder / "workspace").folder(experiment) / "best"
    made, card = json.loads((best / "result.json").read_text()), (best / "card.md").read_text()
    tensors = load_file(best / "model.safetensors")
    for each in best.iterdir():
        each.unlink()
    done = autoprune(folder, "refit")
    assert done.returncode == 0, done.stderr
    again = json.loads((best / "result.json").read_text())
    assert {**again, "figures": [], "said": ""} == {**made, "figures": [], "said": ""}
    assert (best / "card.md").read_text().splitlines()[0] == card.splitlines()[0]
    assert experiment in (best / "report.html").read_text(encoding="utf-8")
    found = load_file(best / "model.safetensors")
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


@pytest.mark.slow
def test_a_killed_finish_leaves_nothing_and_is_done_on_resume(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    search = {"heuristics": False, "scan": False, "leaders": 1, "repeats": 0}
    file = config(tmp_path, "Waiting", taskArguments={"gate": str(gate)}, maxTrialNumber=1, search=search)
    process = subprocess.Popen(
        command(tmp_path, "run", str(file), "--no-server"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "measures the dense model" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    workspace = Workspace(tmp_path / "workspace")
    (experiment,) = (each.name for each in workspace.root.glob("small-*"))
    home = workspace.folder(experiment)
    assert not (home / "best").exists()
    gate.touch()
    done = autoprune(tmp_path, "resume", experiment, "--no-server")
    assert done.returncode == 0, done.stderr
    assert (home / "best" / "card.md").exists()
    assert not list(home.glob(".best-*"))
    assert "model: " in done.stdout
