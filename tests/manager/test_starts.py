"""Starting points of any experiment: run first, in their order, once each, and told to the tuner."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autoprune.errors import ConfigError
from autoprune.manager.starts import all_starts
from autoprune.records import ExperimentState, StartingPoint, Trial
from autoprune.store import trials
from autoprune.tuners import tuners

from .conftest import Lab
from .test_changes import own_tuner, when
from .test_kill import check, run_with_kills, settings, tuner_settings
from .test_loop import QUICK, send

POINTS = [{"method": {"_name": name, "sparsity": at}} for name, at in (("agp", 0.3), ("level", 0.6), ("agp", 0.9))]
NAMES = ["start 0", "start 1", "start 2"]


def course(every: Sequence[Trial]) -> list[Any]:
    return [(trial.parameters, trial.origin, trial.value) for trial in every]


def test_they_run_first_and_count_as_trials(lab: Lab) -> None:
    outcome, every = lab.run(QUICK, startingPoints=POINTS, maxTrialNumber=5)
    assert (outcome.code, len(every)) == (0, 5)
    assert [trial.parameters for trial in every[:3]] == POINTS
    assert [trial.origin for trial in every] == [*NAMES, "", ""]
    assert [notice.get("origin", "") for notice in lab.events("trial_started")] == [*NAMES, "", ""]


def test_no_more_of_them_than_the_limit_allows(lab: Lab) -> None:
    """It is said when none is left for the tuner."""
    for notice in ([], ["maxTrialNumber is 2, and there are 3 starting points: the tuner will not be asked"]):
        _, every = lab.run(QUICK, startingPoints=POINTS, maxTrialNumber=2 if notice else 3, trialConcurrency=2)
        assert [trial.origin for trial in every] == NAMES[: len(every)]
        assert [warning["message"] for warning in lab.events("warning")] == notice


def test_the_tuner_hears_of_them(lab: Lab) -> None:
    """This one adds up what it hears."""
    _, every = lab.run(QUICK, startingPoints=POINTS, maxTrialNumber=4, tuner=own_tuner(lab))
    _, alone = lab.run(QUICK, maxTrialNumber=4, tuner=own_tuner(lab))
    told = every[3].parameters["method"]["sparsity"] - alone[3].parameters["method"]["sparsity"]
    assert told == pytest.approx((0.3 + 0.6 + 0.9 - sum(trial.value or 0 for trial in alone[:3])) / 100, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in tuners.names() if name != "Batch"])
def test_every_tuner_takes_them(lab: Lab, name: str) -> None:
    outcome, every = lab.run(QUICK, startingPoints=POINTS, maxTrialNumber=5, tuner={"name": name})
    assert outcome.code == 0
    assert [trial.origin for trial in every[:3]] == NAMES


@pytest.mark.parametrize("seed", range(4))
def test_stopped_anywhere_each_runs_once(lab: Lab, seed: int) -> None:
    undisturbed = lab.run(startingPoints=POINTS, maxTrialNumber=6)[1]
    chance = random.Random(seed)
    experiment = lab.create(startingPoints=POINTS, maxTrialNumber=6)
    for trial in range(4):
        event = chance.choice(["trial_started", "trial_ended"])
        lab.drive(experiment, when(event, trial, lambda: send(lab, experiment.id, "stop")))
    assert lab.drive(experiment).state is ExperimentState.DONE
    assert course(lab.trials(experiment)) == course(undisturbed)


@pytest.mark.slow
def test_killed_anywhere_each_runs_once(tmp_path: Path) -> None:
    points = [{"a": {"_name": "x", "p": p}, "b": 0.5} for p in (4, 2, 3, 1)]
    config = {**settings(tmp_path, tuner_settings("TPE", tmp_path), concurrency=2), "startingPoints": points}
    workspace, experiment = run_with_kills(tmp_path, config, 8, random.Random(3))
    assert check(workspace, experiment)[:4] == points
    with closing(workspace.open()) as store, store.read() as tx:
        origins = [trial.origin for trial in trials.all(tx, experiment)]
    assert origins == [f"start {place}" for place in range(4)] + [""] * (len(origins) - 4)


def test_those_of_the_study_come_first(lab: Lab) -> None:
    experiment = lab.create(QUICK, startingPoints=POINTS[:1])
    config = lab.config(experiment)
    studied = StartingPoint("LAMP", POINTS[1])
    assert all_starts(config, [studied]) == [studied, StartingPoint("start 0", POINTS[0])]


def test_those_that_are_not_of_the_space_are_refused_before_any_trial(lab: Lab) -> None:
    """Of a task, whose space nobody knew when the file was read."""
    experiment = lab.create(QUICK, startingPoints=[{"method": {"_name": "agp", "sparsity": 2}}, {"x": 1}])
    with pytest.raises(ConfigError) as caught:
        lab.drive(experiment)
    assert "startingPoints.0.method/agp/sparsity: given 2; expected" in str(caught.value)
    assert "startingPoints.1.method: given nothing; expected a value" in str(caught.value)
    assert lab.trials(experiment) == []
