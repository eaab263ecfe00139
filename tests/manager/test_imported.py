"""Results taken in from elsewhere: learnt from, numbered anew, and not counted as trials of the experiment."""

from __future__ import annotations

import pytest

from autoprune.manager.journal import Notice
from autoprune.store import events, trials

from .conftest import Lab
from .test_changes import change, own_tuner, result
from .test_loop import QUICK, send


def test_imported_trials_are_learnt_from_and_not_counted(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=3, tuner=own_tuner(lab))
    change(lab, experiment, "import", file="other.json", trials=[result(0.2, 50.0), result(0.3, 0.1)])
    before = lab.trials(experiment)
    assert [(trial.number, trial.state, trial.value, trial.attempts) for trial in before] == [
        (0, "SUCCEEDED", 50.0, 0),
        (1, "SUCCEEDED", 0.1, 0),
    ]
    assert before[0].message == "imported from other.json"
    outcome = lab.drive(experiment)
    assert (outcome.code, outcome.message) == (0, "maxTrialNumber reached")
    own = lab.trials(experiment)[2:]
    assert [trial.number for trial in own] == [2, 3, 4]
    assert all(trial.parameters["method"]["sparsity"] > 0.6 for trial in own), "the imported 50 is in the sum"
    assert [trial.known for trial in own] == [2, 3, 4]
    with lab.store.read() as tx:
        assert trials.created(tx, experiment.id) == 3


def test_imported_successes_hide_no_failure(lab: Lab) -> None:
    experiment = lab.create("raise ValueError", maxTrialNumber=2)
    change(lab, experiment, "import", file="other.json", trials=[result(0.2, 0.5)])
    assert lab.drive(experiment).code == 1


def test_an_import_while_a_proposal_is_due_takes_no_number_twice(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=12, trialConcurrency=2)

    def listen(notice: Notice) -> None:
        if notice["event"] == "trial_ended" and notice["trial"] % 3 == 0:
            send(lab, experiment.id, "import", file="other.json", trials=[result(0.5, 0.5)])

    lab.drive(experiment, listen)
    every = lab.trials(experiment)
    assert [trial.number for trial in every] == list(range(len(every)))
    assert sum(not trials.imported(trial) for trial in every) == 12
    orders = [trial.finish_order for trial in every]
    assert sorted(order for order in orders if order is not None) == list(range(len(every)))


def test_an_import_is_whole_or_nothing(lab: Lab) -> None:
    experiment = lab.create(QUICK)
    with pytest.raises(KeyError):
        change(lab, experiment, "import", file="other.json", trials=[result(0.2, 0.5), {"parameters": {}}])
    assert lab.trials(experiment) == []
    with lab.store.read() as tx:
        assert events.after(tx, experiment.id) == []
