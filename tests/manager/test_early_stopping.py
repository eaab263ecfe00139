"""Whole experiments with each assessor: the bad end early, the best does not, and the verdicts say why."""

from __future__ import annotations

from typing import Any

import pytest

from autoprune.records import Trial, TrialState

from .conftest import Lab

SCRIPT = """
    import time, autoprune
    quality = autoprune.get_parameters()["method"]["sparsity"]
    for step in range(1, 10):
        time.sleep(60)
        autoprune.report_intermediate_result(quality * (1 - 0.5 / step))
    autoprune.report_final_result(quality)
    """


def quality(trial: Trial) -> float:
    return float(trial.parameters["method"]["sparsity"])


@pytest.mark.parametrize(
    "assessor",
    [
        {"name": "Asha", "classArgs": {"reduction_factor": 3, "max_resource": 9}},
        {"name": "Hyperband", "classArgs": {"max_resource": 9}},
        {"name": "Curvefitting", "classArgs": {"epoch_num": 9, "start_step": 4}},
        {"name": "Medianstop"},
    ],
    ids=lambda assessor: str(assessor["name"]),
)
def test_the_bad_end_early_and_the_best_survives(lab: Lab, assessor: dict[str, Any]) -> None:
    experiment = lab.create(SCRIPT, maxTrialNumber=12, trialConcurrency=3, assessor=assessor)
    outcome = lab.drive(experiment)
    trials = lab.trials(experiment)
    assert outcome.code == 0
    assert {trial.state for trial in trials} == {TrialState.SUCCEEDED, TrialState.EARLY_STOPPED}
    assert max(trials, key=quality).state is TrialState.SUCCEEDED
    for trial in trials:
        reports = lab.metrics(experiment, trial.number)
        if trial.state is TrialState.EARLY_STOPPED:
            assert len(reports) < 9
            assert trial.value == reports[-1].value
            assert "is below" in trial.message
        else:
            assert (len(reports), trial.value) == (10, quality(trial))


def test_what_is_out_of_bounds_ends(lab: Lab) -> None:
    bounds = {"name": "Threshold", "classArgs": {"lower": 0.3, "start_step": 2}}
    experiment = lab.create(SCRIPT, maxTrialNumber=8, assessor=bounds)
    lab.drive(experiment)
    trials = lab.trials(experiment)
    early = [trial.state is TrialState.EARLY_STOPPED for trial in trials]
    assert early == [quality(trial) * 0.75 < 0.3 for trial in trials]
    assert any(early)
    assert not all(early)
