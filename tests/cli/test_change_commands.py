"""`update`, `trial retry` and `import`, as real processes, with a manager that runs in the background and without."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from autoprune.manager.launch import detach
from autoprune.records import timestamp
from autoprune.store import Store, Workspace, commands, experiments, trials

from .conftest import Autoprune

GATED = """
    import pathlib, time, autoprune
    number = autoprune.get_sequence_id()
    autoprune.report_intermediate_result(0.1)
    if number == 0 and not pathlib.Path("mended").exists():
        raise ValueError("not yet")
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
    autoprune.report_final_result(autoprune.get_parameters()["x"])
    """
NNI = [
    {"parameter": {"x": 0.25}, "value": 0.5},
    {"parameter": {"x": 0.75}, "value": '{"default": 0.625, "sparsity": 0.5}'},
    {"parameter": {"x": 0.5}, "value": "0.375"},
    {"parameter": {"x": 0.5}, "value": None},
]


@pytest.fixture
def detached(config: Callable[..., Path], autoprune: Autoprune) -> Iterator[Callable[..., str]]:
    """Starts an experiment in the background; it is stopped after the test."""
    started: list[str] = []

    def start(script: str = GATED, **fields: Any) -> str:
        done = autoprune("run", str(config(script, **fields)), "--detach", "--no-server")
        assert done.returncode == 0, done.stderr
        started.append(done.stdout.strip())
        return started[-1]

    yield start
    for id in started:
        autoprune("stop", id)


def said(autoprune: Autoprune, *arguments: str) -> str:
    done = autoprune(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def trials_of(autoprune: Autoprune) -> list[Any]:
    items: list[Any] = json.loads(autoprune("trials", "--json").stdout)["items"]
    return items


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.1)


def states(autoprune: Autoprune) -> list[str]:
    return [trial["state"] for trial in trials_of(autoprune)]


def test_a_running_experiment_is_updated(detached: Callable[..., str], autoprune: Autoprune, tmp_path: Path) -> None:
    id = detached(maxTrialNumber=2)
    wait_for(lambda: states(autoprune) == ["FAILED", "RUNNING"])
    assert said(autoprune, "update", "--max-trials", "4", "--concurrency", "3") == (
        f"updated {id}: trialConcurrency 3, maxTrialNumber 4\n"
    )
    wait_for(lambda: states(autoprune) == ["FAILED", *["RUNNING"] * 3])
    (tmp_path / "go").touch()
    wait_for(lambda: states(autoprune) == ["FAILED", *["SUCCEEDED"] * 3])
    wait_for(lambda: json.loads(autoprune("status", "--json").stdout)["state"] == "DONE")
    limits = json.loads(autoprune("status", "--json").stdout)["limits"]
    assert (limits["maxTrialNumber"], limits["trialConcurrency"]) == (4, 3)


def test_a_running_experiment_runs_a_trial_again(
    detached: Callable[..., str], autoprune: Autoprune, tmp_path: Path
) -> None:
    id = detached(maxTrialNumber=2)
    wait_for(lambda: states(autoprune) == ["FAILED", "RUNNING"])
    for refused, why in [("1", "has not ended"), ("7", "has no trial 7")]:
        done = autoprune("trial", "retry", refused)
        assert done.returncode == 2
        assert why in done.stderr
    (tmp_path / "mended").touch()
    assert said(autoprune, "trial", "retry", "0", "-e", "small") == f"trial 0 of {id} runs again\n"
    (tmp_path / "go").touch()
    wait_for(lambda: states(autoprune) == ["SUCCEEDED"] * 2)
    assert [trial["attempts"] for trial in trials_of(autoprune)] == [2, 1]


def test_a_running_experiment_takes_in_results(
    detached: Callable[..., str], autoprune: Autoprune, tmp_path: Path
) -> None:
    id = detached(maxTrialNumber=2)
    wait_for(lambda: states(autoprune) == ["FAILED", "RUNNING"])
    (tmp_path / "nni.json").write_text(json.dumps(NNI))
    text = said(autoprune, "import", "small", "nni.json")
    assert text.startswith(f"imported 3 trials into {id}\n")
    assert "left out 1 of the trials:\n  items[3]: no number for default" in text
    arrived = trials_of(autoprune)[2:]
    assert [(trial["number"], trial["value"]) for trial in arrived] == [(2, 0.5), (3, 0.625), (4, 0.375)]
    assert arrived[1]["metrics"] == {"default": 0.625, "sparsity": 0.5}
    assert {trial["message"] for trial in arrived} == {"imported from nni.json"}
    assert json.loads(autoprune("best", "--json").stdout)["number"] == 3
    assert "are there already" in said(autoprune, "import", "small", "nni.json")
    (tmp_path / "go").touch()
    wait_for(lambda: json.loads(autoprune("status", "--json").stdout)["state"] == "DONE")
    assert len(trials_of(autoprune)) == 8


def test_changes_without_a_manager_are_there_for_resume(
    config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    autoprune("run", str(config(GATED)), "--quiet", "--no-server")
    assert states(autoprune) == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    assert "is finished" in said(autoprune, "resume", "small")
    text = said(autoprune, "update", "small", "--max-trials", "5")
    assert "go on with: autoprune resume small-search-" in text
    (tmp_path / "mended").touch()
    assert "go on with: autoprune resume" in said(autoprune, "trial", "retry", "0")
    done = autoprune("trial", "retry", "1")
    assert done.returncode == 2
    assert "has succeeded, and its result stands" in done.stderr
    exported = said(autoprune, "export", "--format", "json")
    (tmp_path / "own.json").write_text(exported)
    text = said(autoprune, "import", "small", "own.json")
    assert text.startswith("imported 2 trials into")
    assert "items[0]: WAITING" in text
    said(autoprune, "resume", "small", "--quiet", "--no-server")
    found = trials_of(autoprune)
    assert [trial["state"] for trial in found] == ["SUCCEEDED"] * 7
    assert [trial["attempts"] for trial in found] == [2, 1, 1, 0, 0, 1, 1]
    assert "is finished" in said(autoprune, "resume", "small")


def test_limits_are_spelled_as_in_files(config: Callable[..., Path], autoprune: Autoprune) -> None:
    autoprune("run", str(config()), "--quiet", "--no-server")
    assert "maxTrialNumber none, maxExperimentDuration 5400" in said(
        autoprune, "update", "--max-duration", "1.5h", "--max-trials", "none"
    )
    limits = json.loads(autoprune("status", "--json").stdout)["limits"]
    assert (limits["maxTrialNumber"], limits["maxExperimentDuration"]) == (None, 5400.0)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give --concurrency, --max-trials or --max-duration"),
        (["--concurrency", "0"], "--concurrency"),
        (["--concurrency", "none"], "--concurrency"),
        (["--max-trials", "0"], "given 0; expected a whole number from 1, or none"),
        (["--max-trials", "-3"], "given -3; expected"),
        (["--max-duration", "2 weeks"], "given 2 weeks; expected a duration such as"),
        (["--max-trials", str(2**31)], f"{2**31 - 1}"),
        (
            ["--concurrency", "1001"],
            "trialConcurrency: given 1001; expected a whole number of at least 1 and of at most 1000",
        ),
        (["--max-duration", "109501d"], "given 109501d; expected a duration of 300 years at most"),
        (["--max-duration", "0"], "given 0; expected a duration above 0, or none"),
        (["nothing", "--concurrency", "1"], "nothing"),
    ],
)
def test_updates_that_cannot_be(
    config: Callable[..., Path], autoprune: Autoprune, arguments: list[str], why: str
) -> None:
    autoprune("run", str(config()), "--quiet", "--no-server")
    done = autoprune("update", *arguments)
    assert done.returncode == 2
    assert why in done.stderr


def test_a_file_that_does_not_fit_is_refused_whole(
    config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    autoprune("run", str(config()), "--quiet", "--no-server")
    (tmp_path / "wide.json").write_text(
        json.dumps([*NNI, {"parameter": {"x": 2}, "value": 1}, {"parameter": {"y": 0}, "value": 1}])
    )
    done = autoprune("import", "small", "wide.json")
    assert done.returncode == 2
    assert "items[4]: x: given 2; expected a number from 0 to 1" in done.stderr
    assert "items[5]: x: given nothing" in done.stderr
    assert "items[5]: y: given a parameter" in done.stderr
    assert len(trials_of(autoprune)) == 3
    text = said(autoprune, "import", "small", "wide.json", "--skip-misfits")
    assert text.startswith("imported 3 trials")
    assert "items[4]: not of this search space" in text
    assert len(trials_of(autoprune)) == 6
    assert autoprune("import", "small", "nowhere.json").returncode == 2
    (tmp_path / "trials.csv").write_text(said(autoprune, "export"))
    done = autoprune("import", "small", "trials.csv")
    assert done.returncode == 2
    assert "export --format json" in done.stderr


@pytest.mark.parametrize(("mode", "better"), [("maximize", max), ("minimize", min)])
def test_optuna_reads_what_best_shows(
    config: Callable[..., Path],
    autoprune: Autoprune,
    tmp_path: Path,
    mode: str,
    better: Callable[[Iterable[float]], float],
) -> None:
    script = """
        import autoprune
        method = autoprune.get_parameters()["method"]
        autoprune.report_intermediate_result(0.5)
        autoprune.report_final_result(method.get("sparsity", 0.5))
        """
    sparsity = {"_type": "uniform", "_value": [0, 1]}
    space = {"method": {"_type": "choice", "_value": [{"_name": "agp", "sparsity": sparsity}, {"_name": "none"}]}}
    tuner = {"name": "Random", "classArgs": {"seed": 2, "optimize_mode": mode}}
    path = config(script, searchSpace=space, tuner=tuner, maxTrialNumber=5)
    assert autoprune("run", str(path), "--quiet", "--no-server").returncode == 0
    said(autoprune, "export", "--format", "optuna", "-o", "study.db")
    best = json.loads(autoprune("best", "--json").stdout)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/study.db")
    assert study.study_name == json.loads(autoprune("status", "--json").stdout)["id"]
    assert (study.best_trial.number, study.best_value) == (best["number"], best["value"])
    assert study.best_value == better(trial.value or 0.0 for trial in study.trials)
    method = best["parameters"]["method"]
    inside = {"method/agp/sparsity": method["sparsity"]} if method["_name"] == "agp" else {}
    assert study.best_params == {"method": method["_name"], **inside}
    assert all(trial.intermediate_values == {0: 0.5} for trial in study.trials)


def pid_of(workspace: Workspace, id: str) -> int:
    return int((workspace.folder(id) / "manager.lock").read_text())


def send(store: Store, id: str, kind: str, **data: Any) -> int:
    with store.write(durable=True) as tx:
        return commands.send(tx, id, kind, data, timestamp(time.time()))


def test_kill_9_leaves_a_change_made_and_answered_or_neither(
    detached: Callable[..., str], autoprune: Autoprune, tmp_path: Path
) -> None:
    id = detached(maxTrialNumber=2)
    wait_for(lambda: states(autoprune) == ["FAILED", "RUNNING"])
    workspace, chance = Workspace(tmp_path / "autoprune-experiments"), random.Random(5)
    store = workspace.open()
    imported, raised, attempts = 0, 2, 1
    result = {"parameters": {"x": 0.5}, "metrics": {"default": 0.5}}
    for _ in range(4):
        retried = send(store, id, "retry", trial=0)
        taken_in = send(store, id, "import", file="other.json", trials=[result] * 3)
        updated = send(store, id, "update", maxTrialNumber=raised + 1)
        time.sleep(chance.uniform(0, 0.25))
        os.kill(pid_of(workspace, id), signal.SIGKILL)
        wait_for(lambda: not workspace.locked(id))
        with store.read() as tx:
            done = {command: commands.get(tx, command).done is not None for command in (retried, taken_in, updated)}
            every = trials.all(tx, id)
            again = [attempt.message.endswith(trials.AGAIN) for attempt in trials.attempts(tx, id, 0)]
        imported += 3 * done[taken_in]
        raised += done[updated]
        attempts += done[retried]
        assert sum(trials.imported(trial) for trial in every) == imported
        assert [trial.number for trial in every] == list(range(len(every)))
        assert sum(again) == attempts - 1
        assert json.loads(autoprune("status", "--json").stdout)["limits"]["maxTrialNumber"] == raised
        with store.read() as tx:
            experiment = experiments.get(tx, id)
        detach(experiment, workspace)
        wait_for(lambda: states(autoprune)[0] == "FAILED" and "RUNNING" in states(autoprune))
    store.close()
    (tmp_path / "mended").touch()
    (tmp_path / "go").touch()
    wait_for(lambda: not workspace.locked(id))
    found = trials_of(autoprune)
    assert sum(not trial["attempts"] for trial in found) == imported
    assert sum(trial["attempts"] > 0 for trial in found) == raised
    assert found[0]["attempts"] >= attempts, "one that was killed runs again of itself"


def test_new_commands_have_examples(autoprune: Autoprune) -> None:
    for command in ("update", "import", "trial retry"):
        done = autoprune(*command.split(), "--help")
        assert done.returncode == 0
        assert f"  autoprune {command}" in done.stdout
