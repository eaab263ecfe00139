"""What may be asked of an experiment before its first trial and after its last: to stop, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoprune import probe
from autoprune.config import load
from autoprune.manager import launch
from autoprune.manager.journal import Journal
from autoprune.manager.outcome import Outcome
from autoprune.manager.tasks import StoppedError, check_stop, devices
from autoprune.records import ExperimentState
from autoprune.store import experiments

from .conftest import Lab
from .test_loop import answer, send


def test_all_but_stop_is_refused_at_once(lab: Lab) -> None:
    experiment = lab.create()
    journal = Journal(lab.store, experiment.id, lambda: 0.0, lab.notices.append)
    check_stop(journal)
    asked = [send(lab, experiment.id, "update", maxTrialNumber=3), send(lab, experiment.id, "kill", trial=1)]
    check_stop(journal)
    assert journal.pending() == []
    for identity in asked:
        assert "the model is being prepared, or the result made; ask again later" in (answer(lab, identity) or "")
    stop = send(lab, experiment.id, "stop")
    with pytest.raises(StoppedError):
        check_stop(journal)
    assert answer(lab, stop) == ""


def test_the_end_is_told_after_what_became_of_the_report(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report can not be written: its place is taken."""
    (lab.code / "task.py").write_text("class Task: ...\n")
    (lab.code / "config.yml").write_text("task: task.py:Task\nbudget: {sparsity: 0.5}\nmaxTrialNumber: 1\n")
    experiment = launch.new_experiment(load(lab.code / "config.yml").config, "config.yml", lab.workspace, lab.store)
    (lab.workspace.folder(experiment.id) / "best" / "report.html").mkdir(parents=True)
    monkeypatch.setattr(launch, "_stages", lambda *_: Outcome(ExperimentState.DONE, 0, "maxTrialNumber reached"))
    lab.drive(experiment)
    assert [notice["event"] for notice in lab.notices] == ["experiment_started", "warning", "experiment_ended"]
    assert "no report was written" in lab.notices[1]["message"]
    with lab.store.read() as tx:
        found = experiments.get(tx, experiment.id)
    assert (found.state, found.message) == (ExperimentState.DONE, "maxTrialNumber reached")


@pytest.mark.parametrize(("gpus", "seen"), [(0, "''"), (1, "'3,4'")])
def test_the_model_is_studied_where_the_trials_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, seen: str
) -> None:
    """What torch sees of GPUs in the child process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    (tmp_path / "config.yml").write_text(
        f"task: task.py:Task\nbudget: {{sparsity: 0.5}}\nmaxTrialNumber: 1\ntrialGpuNumber: {gpus}\n"
    )
    (tmp_path / "task.py").write_text("class Task: ...\n")
    config = load(tmp_path / "config.yml").config
    (tmp_path / "seen.py").write_text(
        "import json, os\nprint(json.dumps({'result': repr(os.environ['CUDA_VISIBLE_DEVICES'])}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    assert probe.ask("seen", "look", {}, environment=devices(config)) == seen
