"""A search goes on with the task that it began with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoprune.config import ExperimentConfig
from autoprune.errors import UsageError
from autoprune.manager.journal import Journal
from autoprune.manager.launch import new_experiment
from autoprune.manager.tasks import settings_of, study
from autoprune.search.job import Job
from autoprune.search.loading import Source
from autoprune.search.settings import Settings
from autoprune.store import Workspace
from autoprune.taskfile import check_unchanged, task_key
from tests.search.bench import TASKS, Bench


def test_a_task_that_has_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "task.py"
    file.write_text("class Task: ...")
    task = f"{file}:Task"
    key = task_key(task, {"width": 3})
    assert key == Source(str(file), "Task", {"width": 3}).key
    check_unchanged(task, {"width": 3}, key)
    file.write_text("class Task: ...  # of mine")
    with pytest.raises(UsageError, match=r"task.py:Task: given a file that has changed since the search began"):
        check_unchanged(task, {"width": 3}, key)


def test_trials_and_models_are_of_the_task_that_was_studied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Bench(tmp_path, monkeypatch).settings
    studied = Settings.of({**given, "key": task_key(f"{TASKS}:Points", {})})
    assert Job.of(studied).settings == studied
    with pytest.raises(UsageError, match=r"tasks.py:Points: given a file that has changed"):
        Job.of(Settings.of({**given, "key": "another"}))


def test_a_search_of_another_task_is_not_resumed(tmp_path: Path) -> None:
    file = tmp_path / "task.py"
    text = f"import sys; sys.path.append({str(TASKS.parents[1])!r})\nfrom search.tasks import Points\n"
    file.write_text(text + "class Task(Points): ...\n")
    workspace = Workspace(tmp_path / "workspace")
    store = workspace.create()
    given = {
        "experimentName": "small", "task": f"{file}:Task", "budget": {"sparsity": 0.8}, "maxTrialNumber": 2,
        "tuner": {"name": "Random"}, "search": {"heuristics": False, "scan": False},
    }  # fmt: skip
    config = ExperimentConfig.from_json({**given, "searchSpace": {}, "trialCodeDirectory": str(tmp_path)})
    experiment = new_experiment(config, "config.yml", workspace, store)
    workspace.folder(experiment.id).mkdir()
    journal = Journal(store, experiment.id, lambda: 0.0, lambda notice: None)
    studied, _ = study(experiment, config, workspace, store, journal)
    noted = tmp_path / "workspace" / experiment.id / "search.json"
    before = noted.read_text()
    assert json.loads(before)["key"] == task_key(f"{file}:Task", {})
    study(experiment, studied, workspace, store, journal)
    file.write_text(text + "class Task(Points): ...  # another\n")
    with pytest.raises(UsageError, match="given a file that has changed since the search began"):
        study(experiment, studied, workspace, store, journal)
    with pytest.raises(UsageError, match="given a file that has changed since the search began"):
        Job.of(Settings.of(settings_of(experiment, studied, workspace)))
    assert noted.read_text() == before
    store.close()
