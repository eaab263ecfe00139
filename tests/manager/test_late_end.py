"""A trial whose manager was gone when it finished ended when its final result came, not when somebody noticed."""

from __future__ import annotations

import json

import pytest

from autoprune import protocol
from autoprune.records import Trial, TrialState, seconds
from autoprune.store import trials
from tests.manager.conftest import Lab

STARTED, CAME = "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:05.000Z"


@pytest.mark.parametrize(("written", "kept"), [(CAME, True), ("soon", False), ("9" * 30, False)])
def test_the_end_is_that_of_the_final_result(lab: Lab, written: str, kept: bool) -> None:
    experiment = lab.create(maxTrialNumber=1)
    parameters = {"method": {"_name": "agp", "sparsity": 0.5}}
    with lab.store.write() as tx:
        trials.create(tx, experiment.id, Trial(0, TrialState.WAITING, parameters, created=STARTED))
        trials.start(tx, experiment.id, 0, 0, STARTED)
    folder = lab.workspace.attempt(experiment.id, 0, 0)
    folder.mkdir(parents=True)
    report = {"seq": 0, "final": True, "values": {"default": 0.5}, "time": written}
    (folder / protocol.METRICS).write_text(json.dumps(report) + "\n")
    lab.drive(experiment)
    with lab.store.read() as tx:
        trial = trials.get(tx, experiment.id, 0)
        (attempt,) = trials.attempts(tx, experiment.id, 0)
    assert (trial.state, trial.value, trial.ended) == (TrialState.SUCCEEDED, 0.5, attempt.ended)
    assert (trial.ended == CAME) is kept
    assert seconds(trial.ended or "") > 0
    assert (trial.duration == 5.0) is kept
