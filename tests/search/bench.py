"""Trials of a small task, and what is made of them, in this process: as a manager would ask for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoprune.protocol import ATTEMPT_VARIABLE, OUTPUT_VARIABLE, PARAMETERS, ReportReader
from autoprune.records import JSON, Metric
from autoprune.search.checkpoint import load
from autoprune.search.command import finishing
from autoprune.search.evaluated import Evaluated
from autoprune.search.job import Job
from autoprune.search.pruning import kind_of
from autoprune.search.settings import Settings
from autoprune.search.space import parameters_of
from autoprune.search.trial import Trial

TASKS = Path(__file__).with_name("tasks.py")
EXPERIMENT = "small-261121-abcd"


@dataclass
class Bench:
    """An experiment's folder with a task of `tasks.py`."""

    folder: Path
    patch: pytest.MonkeyPatch
    task: str = "Points"
    pruner: str = "level"
    budget: Mapping[str, JSON] | None = field(default_factory=lambda: {"sparsity": 0.8})
    epochs: int = 1
    final_epochs: int | None = None
    assessed: bool = False
    arguments: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, JSON]:
        return {
            "task": f"{TASKS}:{self.task}",
            "arguments": dict(self.arguments),
            "prepared": str(self.folder / "prepared"),
            "budget": self.budget,
            "search": {
                "pruners": [self.pruner],
                "granularity": "layer",
                "epochs": self.epochs,
                "finalEpochs": self.final_epochs,
            },
            "seed": 7,
            "maximize": True,
            "assessed": self.assessed,
        }

    @property
    def job(self) -> Job:
        job = Job.of(Settings.of(self.settings))
        job.prepare()
        return job

    def parameters(self, *sparsities: float) -> dict[str, JSON]:
        """The groups get these sparsities, the last one all that follow."""
        job = self.job
        groups = [group.name for group in job.scaler(kind_of(self.pruner), job.dense()).groups]
        given = [*sparsities, *[sparsities[-1]] * len(groups)]
        return parameters_of(self.pruner, dict(zip(groups, given, strict=False)))

    def output(self, number: int) -> Path:
        return self.folder / "trials" / str(number) / "output"

    def trial(
        self, number: int, parameters: Mapping[str, JSON], *, keep: bool = False, attempt: int = 0
    ) -> list[Metric]:
        """Run a trial; all that it reported."""
        attempt_folder = self.output(number).parent / "attempts" / str(attempt)
        attempt_folder.mkdir(parents=True)
        (attempt_folder / PARAMETERS).write_text(json.dumps(parameters))
        self.patch.setenv(ATTEMPT_VARIABLE, str(attempt_folder))
        self.patch.setenv(OUTPUT_VARIABLE, str(self.output(number)))
        Trial(self.job, number, self.output(number), keep).run(parameters, Evaluated(self.folder / "allocations"))
        return ReportReader(attempt_folder, attempt).read()

    def candidate(self, parameters: Mapping[str, JSON], runs: Mapping[int, float], name: str = "") -> dict[str, JSON]:
        """An allocation, with its trials and their values."""
        outputs = {number: str(self.output(number)) for number in runs}
        listed = [{"trial": number, "value": value, "output": outputs[number]} for number, value in runs.items()]
        return {"name": name, "parameters": dict(parameters), "runs": listed}

    def finish(self, candidates: Sequence[Mapping[str, JSON]], **order: Any) -> dict[str, JSON]:
        """What becomes of the first of them, in the folder `best`."""
        request = {"out": str(self.folder / "best"), **order}
        return finishing.run(settings=self.settings, experiment=EXPERIMENT, candidates=candidates, **request)

    def load(self, folder: Path) -> Any:
        return load(self.job.build, folder)
