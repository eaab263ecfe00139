"""Experiments for tests: a script, a space, and whatever else is set; run by the simulated clock or for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from autoprune.config import ExperimentConfig
from autoprune.manager.journal import Notice
from autoprune.manager.launch import check, drive, new_experiment
from autoprune.manager.loop import Outcome
from autoprune.records import Metric, Trial
from autoprune.store import Experiment, Store, Workspace, experiments, metrics, trials

SPACE = {
    "method": {
        "_type": "choice",
        "_value": [
            {"_name": "agp", "sparsity": {"_type": "uniform", "_value": [0.1, 0.9]}},
            {"_name": "level", "sparsity": {"_type": "uniform", "_value": [0.1, 0.9]}},
        ],
    }
}
SCRIPT = """
    import time, autoprune
    sparsity = autoprune.get_parameters()["method"]["sparsity"]
    for step in range(3):
        time.sleep(60)
        autoprune.report_intermediate_result(sparsity * (step + 1) / 3)
    autoprune.report_final_result({"default": sparsity, "twice": 2 * sparsity})
    """


@dataclass
class Lab:
    """One workspace, and experiments in it."""

    workspace: Workspace
    store: Store
    code: Path
    notices: list[Notice] = field(default_factory=list)

    def create(self, script: str = SCRIPT, platform: str = "debug", **settings: Any) -> Experiment:
        (self.code / "trial.py").write_text(dedent(script))
        base = {
            "experimentName": "lab",
            "searchSpace": SPACE,
            "trialCommand": "python trial.py",
            "trialCodeDirectory": str(self.code),
            "tuner": {"name": "Random", "classArgs": {"seed": 1}},
            "trainingService": {"platform": platform},
        }
        config = ExperimentConfig.from_json({**base, **settings})
        check(config)
        return new_experiment(config, "config.yml", self.workspace, self.store)

    def drive(self, experiment: Experiment, listener: Callable[[Notice], None] | None = None) -> Outcome:
        with self.store.read() as tx:
            experiment = experiments.get(tx, experiment.id)
        return drive(experiment, self.workspace, self.store, listener or self.notices.append, resumed=False)

    def run(self, script: str = SCRIPT, **settings: Any) -> tuple[Outcome, list[Trial]]:
        experiment = self.create(script, **settings)
        outcome = self.drive(experiment)
        return outcome, self.trials(experiment)

    def trials(self, experiment: Experiment) -> list[Trial]:
        with self.store.read() as tx:
            return trials.all(tx, experiment.id)

    def config(self, experiment: Experiment) -> ExperimentConfig:
        with self.store.read() as tx:
            return ExperimentConfig.from_json(experiments.get(tx, experiment.id).config)

    def metrics(self, experiment: Experiment, number: int) -> list[Metric]:
        with self.store.read() as tx:
            return metrics.of_trial(tx, experiment.id, number)

    def events(self, kind: str) -> list[Notice]:
        return [notice for notice in self.notices if notice["event"] == kind]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    workspace = Workspace(tmp_path / "workspace")
    store = workspace.create()
    code = tmp_path / "code"
    code.mkdir()
    yield Lab(workspace, store, code)
    store.close()
