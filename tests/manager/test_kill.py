"""kill -9 of the manager, again and again: nothing is lost, doubled or left running, and the search does not notice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
import yaml

from autoprune.protocol import ReportReader
from autoprune.records import TrialState
from autoprune.store import Workspace, experiments, metrics, trials
from autoprune.tuners import tuners

from .conftest import Lab

TRIALS = 30
KILLS = 20
MARK = "AUTOPRUNE_TEST_MARK"

SPACE = {
    "a": {
        "_type": "choice",
        "_value": [{"_name": "x", "p": {"_type": "choice", "_value": [1, 2, 3, 4]}}, {"_name": "y"}],
    },
    "b": {"_type": "quniform", "_value": [0, 1, 0.1]},
}
BATCH = {
    "all": {"_type": "choice", "_value": [{"a": {"p": 1 + n % 4}, "b": n / 40} for n in range(40)]},
}
SCRIPT = """
    import subprocess, time, autoprune
    parameters = autoprune.get_parameters()
    helper = subprocess.Popen(["sleep", "1000"])
    score = parameters["b"] + parameters["a"].get("p", 0.5)
    for step in range(3):
        autoprune.report_intermediate_result(score * step)
        time.sleep(0.03)
    autoprune.report_final_result(score)
    time.sleep(0.03)
    """
OWN_TUNER = """
    import random

    class Walk:
        def __init__(self, optimize_mode="maximize"):
            self.position = 0.5
            self.results = []

        def update_search_space(self, search_space):
            self.space = search_space

        def generate_parameters(self, parameter_id, **kwargs):
            self.position = round(min(1.0, max(0.0, self.position + random.choice([-0.1, 0.1]))), 1)
            best = max(self.results, default=0)
            return {"a": {"_name": "x", "p": 1 + int(best) % 4}, "b": self.position}

        def receive_trial_result(self, parameter_id, parameters, value, **kwargs):
            self.results.append(value)
    """


def settings(code: Path, tuner: dict[str, Any], concurrency: int, *, warm: bool = True) -> dict[str, Any]:
    (code / "trial.py").write_text(dedent(SCRIPT))
    (code / "walk.py").write_text(dedent(OWN_TUNER))
    return {
        "experimentName": "kill",
        "searchSpace": BATCH if tuner.get("name") == "Batch" else SPACE,
        "trialCommand": "python trial.py",
        "trialCodeDirectory": str(code),
        "trialConcurrency": concurrency,
        "maxTrialNumber": TRIALS,
        "tuner": tuner,
        "trainingService": {"warmStart": warm},
    }


@contextmanager
def manager(*arguments: str, workspace: Path, mark: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "autoprune", *arguments, "--json", "--no-server", "--workspace", str(workspace)],
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: mark},
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def live_until(process: subprocess.Popen[str], chance: random.Random) -> bool:
    """Let the manager live for a random while, in events and time, then kill it; False if it came to its end."""
    assert process.stdout is not None
    for _ in range(chance.choice([0, 1, 3, 5, 8])):
        line = process.stdout.readline()
        if not line or json.loads(line)["event"] == "experiment_ended":
            return False
    try:
        process.wait(chance.uniform(0, 0.25))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def left_over(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def run_with_kills(folder: Path, config: dict[str, Any], kills: int, chance: random.Random) -> tuple[Workspace, str]:
    """One experiment through so many kills, to its end."""
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    workspace, mark = Workspace(folder / "workspace"), uuid.uuid4().hex
    store = workspace.create()
    arguments = ["run", str(folder / "config.yml")]
    killed = 0
    while killed < kills:
        with manager(*arguments, workspace=workspace.root, mark=mark) as process:
            assert live_until(process, chance), f"the run ended after {killed} kills; make its trials slower"
        killed += 1
        with store.read() as tx:
            ids = [experiment.id for experiment in experiments.newest_first(tx)]
        assert len(ids) <= 1
        arguments = ["resume", ids[0]] if ids else arguments
    with manager(*arguments, workspace=workspace.root, mark=mark) as process:
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout]
        assert process.wait() == 0
    assert events[-1]["event"] == "experiment_ended"
    assert left_over(mark) == []
    store.close()
    return workspace, ids[0]


def check(workspace: Workspace, experiment: str) -> list[Any]:
    """Exactly the expected results, each matched to its own parameters; returns the parameters."""
    store = workspace.open()
    with store.read() as tx:
        every = trials.all(tx, experiment)
        reports = {trial.number: metrics.of_trial(tx, experiment, trial.number) for trial in every}
    store.close()
    assert [trial.number for trial in every] == list(range(TRIALS))
    assert sorted(trial.finish_order or 0 for trial in every) == list(range(TRIALS))
    for trial in every:
        assert trial.state is TrialState.SUCCEEDED
        assert trial.value == trial.parameters["b"] + trial.parameters["a"].get("p", 0.5)
        assert sum(report.final for report in reports[trial.number]) == 1
        for attempt in range(trial.attempts):
            written = ReportReader(workspace.attempt(experiment, trial.number, attempt), attempt).read()
            finals = sum(report.final for report in written)
            assert finals == (attempt == trial.attempts - 1)
            stored = [report for report in reports[trial.number] if report.attempt == attempt]
            assert stored == written[: len(stored)]
    return [trial.parameters for trial in every]


def tuner_settings(name: str, code: Path) -> dict[str, Any]:
    if name == "own":
        return {"className": "walk.Walk", "codeDirectory": str(code), "classArgs": {"seed": 5}}
    if name == "optuna":
        return {"className": "optuna.samplers.NSGAIISampler", "classArgs": {"population_size": 4, "seed": 5}}
    return {"name": name, "classArgs": {"seed": 5}}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("name", [*tuners.names(), "own", "optuna"])
def test_the_search_takes_the_same_course(lab: Lab, tmp_path: Path, name: str, warm: bool) -> None:
    config = settings(lab.code, tuner_settings(name, lab.code), concurrency=1, warm=warm)
    workspace, experiment = run_with_kills(tmp_path, config, KILLS, random.Random(name))
    parameters = check(workspace, experiment)
    undisturbed = lab.create(dedent(SCRIPT).replace('subprocess.Popen(["sleep", "1000"])', "None"), **config)
    lab.drive(undisturbed)
    assert parameters == [trial.parameters for trial in lab.trials(undisturbed)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_results_stay_whole_with_trials_side_by_side(tmp_path: Path, warm: bool) -> None:
    config = settings(tmp_path, tuner_settings("Random", tmp_path), concurrency=3, warm=warm)
    check(*run_with_kills(tmp_path, config, KILLS, random.Random(7)))


def test_a_kill_or_two(tmp_path: Path) -> None:
    config = settings(tmp_path, tuner_settings("Random", tmp_path), concurrency=2)
    check(*run_with_kills(tmp_path, config, 3, random.Random(3)))


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_many_kills(tmp_path: Path, seed: int) -> None:
    config = settings(tmp_path, tuner_settings("Random", tmp_path), concurrency=1 + seed % 4, warm=seed % 2 == 0)
    check(*run_with_kills(tmp_path, config, KILLS, random.Random(seed)))
