"""Limits changed, trials run once more and results taken in, while a manager runs and while none does."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from textwrap import dedent
from typing import Any

import pytest

from autoprune.errors import LockedError, NotFoundError, UsageError
from autoprune.manager.changes import make_here
from autoprune.manager.journal import Journal, Notice
from autoprune.manager.recover import history
from autoprune.records import Exit, ExperimentState, Trial, TrialState, timestamp
from autoprune.store import Command, Experiment, commands, experiments, trials
from autoprune.tuners import tuners

from .conftest import Lab
from .test_loop import QUICK, answer, send

ONE_FAILS = """
    import pathlib, time, autoprune
    time.sleep(60)
    if autoprune.get_sequence_id() == 1 and not pathlib.Path("mended").exists():
        raise ValueError("not yet")
    autoprune.report_final_result(autoprune.get_parameters()["method"]["sparsity"])
    """
COUNTING = """
    import random

    class Counting:
        def __init__(self, optimize_mode="maximize"):
            self.results = []

        def update_search_space(self, search_space):
            self.imported = 0

        def generate_parameters(self, parameter_id, **kwargs):
            sparsity = 0.1 + sum(self.results) / 100 + random.random() / 2
            return {"method": {"_name": "agp", "sparsity": round(sparsity, 9)}}

        def receive_trial_result(self, parameter_id, parameters, value, **kwargs):
            self.results.append(value)

        def import_data(self, data):
            self.results += [item["value"] for item in data]
    """


def stored(lab: Lab, experiment: Experiment) -> Experiment:
    with lab.store.read() as tx:
        return experiments.get(tx, experiment.id)


def change(lab: Lab, experiment: Experiment, kind: str, **data: Any) -> None:
    make_here(experiment.id, kind, data, lab.workspace, lab.store)


def result(sparsity: float, value: float) -> dict[str, Any]:
    return {"parameters": {"method": {"_name": "agp", "sparsity": sparsity}}, "metrics": {"default": value}}


def when(event: str, trial: int, then: Callable[[], object]) -> Callable[[Notice], None]:
    """A listener that does something the first time an event of a trial is told."""
    done = False

    def listen(notice: Notice) -> None:
        nonlocal done
        if not done and notice["event"] == event and notice["trial"] == trial:
            done = True
            then()

    return listen


def test_more_trials_side_by_side(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=9)
    running: list[int] = []
    most = 0

    def listen(notice: Notice) -> None:
        nonlocal most
        lab.notices.append(notice)
        if notice["event"] == "trial_started":
            running.append(notice["trial"])
            most = max(most, len(running))
        if notice["event"] == "trial_ended":
            running.remove(notice["trial"])
            if notice["trial"] == 1:
                send(lab, experiment.id, "update", trialConcurrency=3)

    assert lab.drive(experiment, listen).code == 0
    assert most == 3
    (event,) = lab.events("experiment_updated")
    assert event["trialConcurrency"] == 3
    assert stored(lab, experiment).config["trialConcurrency"] == 3


def test_fewer_trials_side_by_side_lets_the_running_ones_finish(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=8, trialConcurrency=4)
    lab.drive(experiment, when("trial_started", 3, lambda: send(lab, experiment.id, "update", trialConcurrency=1)))
    every = lab.trials(experiment)
    assert all(trial.state is TrialState.SUCCEEDED for trial in every)
    later = [(trial.started or "", trial.ended or "") for trial in every[4:]]
    assert all(ended <= started for (_, ended), (started, _) in pairwise(later))


def test_fewer_trials_than_there_are_ends_after_the_running_ones(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=50, trialConcurrency=2)
    outcome = lab.drive(
        experiment, when("trial_started", 5, lambda: send(lab, experiment.id, "update", maxTrialNumber=2))
    )
    assert (outcome.state, outcome.message) == (ExperimentState.DONE, "maxTrialNumber reached")
    every = lab.trials(experiment)
    assert 6 <= len(every) <= 7
    assert all(trial.state is TrialState.SUCCEEDED for trial in every)


def test_a_shorter_time_ends_at_once_and_a_longer_one_does_not(lab: Lab) -> None:
    experiment = lab.create(maxExperimentDuration="10m")
    lab.drive(
        experiment, when("trial_started", 1, lambda: send(lab, experiment.id, "update", maxExperimentDuration=1000))
    )
    assert len(lab.trials(experiment)) == 6
    short = lab.create(maxExperimentDuration="10m")
    lab.drive(short, when("trial_ended", 0, lambda: send(lab, short.id, "update", maxExperimentDuration="1m")))
    assert [trial.state for trial in lab.trials(short)] in (["SUCCEEDED"], ["SUCCEEDED", "USER_CANCELED"])


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"trialConcurrency": 0}, "trialConcurrency"),
        ({"maxTrialNumber": 0}, "maxTrialNumber"),
        ({"maxTrialNumber": 2.5}, "maxTrialNumber"),
        ({"maxExperimentDuration": "2 fortnights"}, "a duration such as"),
        ({"trialConcurrency": None}, "trialConcurrency"),
        ({"trialCommand": "rm -rf /"}, "expected one of trialConcurrency, maxTrialNumber, maxExperimentDuration"),
    ],
)
def test_limits_that_cannot_be_are_refused(lab: Lab, limits: dict[str, Any], said: str) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=3)
    before = stored(lab, experiment)
    with pytest.raises(UsageError, match=said):
        change(lab, experiment, "update", **limits)
    sent: list[int] = []
    lab.drive(experiment, when("trial_started", 1, lambda: sent.append(send(lab, experiment.id, "update", **limits))))
    assert said in (answer(lab, sent[0]) or "")
    assert stored(lab, experiment).config == before.config
    assert lab.events("experiment_updated") == []


def test_a_finished_experiment_goes_on_when_its_limit_is_raised(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=3)
    assert lab.drive(experiment).state is ExperimentState.DONE
    change(lab, experiment, "update", trialConcurrency=2)
    change(lab, experiment, "update", maxTrialNumber=2)
    assert stored(lab, experiment).state is ExperimentState.DONE
    change(lab, experiment, "update", maxTrialNumber=5)
    reopened = stored(lab, experiment)
    assert (reopened.state, "autoprune resume" in reopened.message) == (ExperimentState.STOPPED, True)
    assert lab.drive(experiment).state is ExperimentState.DONE
    assert len(lab.trials(experiment)) == 5
    undisturbed = lab.create(QUICK, maxTrialNumber=5)
    lab.drive(undisturbed)
    expected = [trial.parameters for trial in lab.trials(undisturbed)]
    assert [trial.parameters for trial in lab.trials(experiment)] == expected


def test_an_exhausted_search_stays_finished_whatever_its_limits(lab: Lab) -> None:
    space = {"x": {"_type": "choice", "_value": [1, 2]}}
    script = "import autoprune\nautoprune.report_final_result(autoprune.get_parameters()['x'])"
    experiment = lab.create(script, searchSpace=space, tuner={"name": "GridSearch"})
    lab.drive(experiment)
    change(lab, experiment, "update", maxTrialNumber=50, maxExperimentDuration=1e6)
    assert stored(lab, experiment).state is ExperimentState.DONE


def test_nothing_is_changed_behind_a_managers_back(lab: Lab) -> None:
    experiment = lab.create(QUICK)
    with lab.workspace.lock(experiment.id), pytest.raises(LockedError):
        change(lab, experiment, "update", maxTrialNumber=1)


def test_an_ending_experiment_refuses_changes(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=9, trialConcurrency=2)
    sent: list[int] = []

    def stop_then_change() -> None:
        send(lab, experiment.id, "stop")
        sent.append(send(lab, experiment.id, "update", maxTrialNumber=3))
        sent.append(send(lab, experiment.id, "retry", trial=0))

    lab.drive(experiment, when("trial_started", 3, stop_then_change))
    assert [answer(lab, command) for command in sent] == ["the experiment is ending: stopped by command"] * 2
    assert stored(lab, experiment).config["maxTrialNumber"] == 9


def test_a_failed_trial_runs_again_while_the_search_goes_on(lab: Lab) -> None:
    experiment = lab.create(ONE_FAILS, maxTrialNumber=6, trialConcurrency=2)

    def mend() -> None:
        (lab.code / "mended").touch()
        send(lab, experiment.id, "retry", trial=1)

    assert lab.drive(experiment, when("trial_ended", 3, mend)).code == 0
    every = lab.trials(experiment)
    assert [trial.state for trial in every] == ["SUCCEEDED"] * 6
    assert [trial.attempts for trial in every] == [1, 2, 1, 1, 1, 1]
    assert every[1].value == every[1].parameters["method"]["sparsity"]
    orders = [trial.finish_order or 0 for trial in every]
    assert len(set(orders)) == 6
    assert orders[1] > orders[3]


def test_a_retry_needs_no_room_under_the_limit_and_no_retries(lab: Lab) -> None:
    experiment = lab.create("raise ValueError('never')", maxTrialNumber=2, maxTrialRetries=1)
    assert lab.drive(experiment).code == 1
    for attempts in (4, 6):
        change(lab, experiment, "retry", trial=0)
        assert stored(lab, experiment).state is ExperimentState.STOPPED
        waiting = lab.trials(experiment)[0]
        assert (waiting.state, waiting.finish_order, waiting.message) == ("WAITING", None, "run again by command")
        lab.drive(experiment)
        assert [trial.attempts for trial in lab.trials(experiment)] == [attempts, 2], "its own retries begin anew"
    assert stored(lab, experiment).state is ExperimentState.DONE


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [(0, UsageError, "has succeeded, and its result stands"), (9, NotFoundError, "has no trial 9")],
)
def test_trials_that_cannot_run_again(lab: Lab, number: int, error: type[UsageError], said: str) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=1)
    lab.drive(experiment)
    with pytest.raises(error, match=said):
        change(lab, experiment, "retry", trial=number)
    assert stored(lab, experiment).state is ExperimentState.DONE


def test_a_running_trial_is_not_retried(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=2)
    sent: list[int] = []
    lab.drive(experiment, when("trial_started", 0, lambda: sent.append(send(lab, experiment.id, "retry", trial=0))))
    assert (answer(lab, sent[0]) or "").endswith("has not ended: it is RUNNING")
    assert [trial.attempts for trial in lab.trials(experiment)] == [1, 1]


def test_a_trial_that_ran_out_of_the_experiments_time_needs_more_of_it(lab: Lab) -> None:
    experiment = lab.create(maxExperimentDuration="1m")
    lab.drive(experiment)
    assert [trial.state for trial in lab.trials(experiment)] == ["USER_CANCELED"]
    with pytest.raises(UsageError, match=r"autoprune update .* --max-duration"):
        change(lab, experiment, "retry", trial=0)
    change(lab, experiment, "update", maxExperimentDuration=None, maxTrialNumber=1)
    change(lab, experiment, "retry", trial=0)
    lab.drive(experiment)
    assert [(trial.state, trial.attempts) for trial in lab.trials(experiment)] == [("SUCCEEDED", 2)]


def test_an_early_stopped_trial_loses_its_value_while_it_waits(lab: Lab) -> None:
    script = """
        import pathlib, time, autoprune
        good = autoprune.get_sequence_id() < 3 or pathlib.Path("mended").exists()
        for step in range(10):
            time.sleep(60)
            autoprune.report_intermediate_result(1.0 if good else 0.1)
        autoprune.report_final_result(1.0)
        """
    experiment = lab.create(script, maxTrialNumber=4, assessor={"name": "Medianstop"})
    lab.drive(experiment)
    assert lab.trials(experiment)[3].state is TrialState.EARLY_STOPPED
    change(lab, experiment, "retry", trial=3)
    waiting = lab.trials(experiment)[3]
    assert (waiting.value, waiting.metrics, waiting.ended) == (None, {}, None)
    (lab.code / "mended").touch()
    lab.drive(experiment)
    assert (lab.trials(experiment)[3].state, lab.trials(experiment)[3].value) == ("SUCCEEDED", 1.0)


def own_tuner(lab: Lab) -> dict[str, Any]:
    (lab.code / "counting.py").write_text(dedent(COUNTING))
    return {"className": "counting.Counting", "codeDirectory": str(lab.code), "classArgs": {"seed": 3}}


LEARNERS = [pytest.param(name, marks=pytest.mark.slow) for name in tuners.names() if name != "Batch"]


@pytest.mark.parametrize("name", ["own", *LEARNERS])
def test_a_tuner_knows_after_changes_what_a_rebuilt_one_knows(lab: Lab, name: str) -> None:
    """The same retry and import, once with the manager that runs, once with one that has to be rebuilt after it."""
    script = ONE_FAILS.replace("time.sleep(60)", "time.sleep(60 + autoprune.get_sequence_id())")
    outcomes = []
    for stops in (False, True):
        (lab.code / "mended").unlink(missing_ok=True)
        tuner = own_tuner(lab) if name == "own" else {"name": name, "classArgs": {"seed": 3}}
        experiment = lab.create(script, tuner=tuner, maxTrialNumber=8)

        def change_it(id: str = experiment.id, stops: bool = stops) -> None:
            (lab.code / "mended").touch()
            send(lab, id, "import", file="other.json", trials=[result(0.2, 5.0), result(0.3, 6.0)])
            send(lab, id, "retry", trial=1)
            if stops:
                send(lab, id, "stop")

        lab.drive(experiment, when("trial_ended", 3, change_it))
        if stops:
            assert lab.drive(experiment).state is ExperimentState.DONE
        every = lab.trials(experiment)
        assert sum(trials.imported(trial) for trial in every) == 2
        assert len(every) == 10
        assert [trial.attempts for trial in every if not trials.imported(trial)] == [1, 2, 1, 1, *[1] * 4]
        outcomes.append([(trial.parameters, trial.value) for trial in every])
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("update", {"maxTrialNumber": 7}),
        ("retry", {"trial": 1}),
        ("import", {"file": "f", "trials": [result(0.2, 0.5)]}),
    ],
)
def test_a_change_and_its_answer_are_one(lab: Lab, kind: str, data: dict[str, Any]) -> None:
    """A manager that dies as it answers has changed nothing; the next refuses what it had not answered."""
    experiment = lab.create(ONE_FAILS, maxTrialNumber=2)
    lab.drive(experiment)
    before, config = lab.trials(experiment), stored(lab, experiment).config
    id = send(lab, experiment.id, kind, **data)
    journal = Journal(lab.store, experiment.id, time.time, lambda notice: None)
    (command,) = journal.pending()
    with lab.store.write() as tx:
        tx.exec_driver_sql("CREATE TRIGGER dies BEFORE UPDATE ON command BEGIN SELECT RAISE(FAIL, 'killed'); END")
    with pytest.raises(Exception, match="killed"):
        journal.changed(command)
    with lab.store.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER dies")
    assert (lab.trials(experiment), stored(lab, experiment).config) == (before, config)
    assert answer(lab, id) is None
    journal.refuse_commands_before(timestamp(time.time() + 1))
    assert answer(lab, id) == "the manager it was sent to is gone"
    assert journal.pending() == []


def test_a_command_of_an_unknown_kind_changes_nothing(lab: Lab) -> None:
    experiment = lab.create(QUICK)
    journal = Journal(lab.store, experiment.id, time.time, lambda notice: None)
    id = send(lab, experiment.id, "dance")
    assert journal.changed(Command(id, "dance", {}, "now")) is None
    with lab.store.read() as tx:
        assert "dance" in (commands.get(tx, id).answer or "")


def test_what_others_knew_no_longer_counts_a_trial_that_runs_again(lab: Lab) -> None:
    """`known` is a place in the history of finished trials, from which the retried one is gone."""
    experiment = lab.create(QUICK)
    now = timestamp(0.0)
    with lab.store.write() as tx:
        for number in range(4):
            known = [0, 0, 1, 3][number]
            trials.create(tx, experiment.id, Trial(number, TrialState.WAITING, {}, created=now, known=known))
        for number in (1, 0, 2):
            trials.start(tx, experiment.id, number, 0, now)
            state = TrialState.FAILED if number == 0 else TrialState.SUCCEEDED
            trials.end_attempt(tx, experiment.id, number, 0, now, Exit(0))
            trials.finish(tx, experiment.id, number, state, now, value=0.5)
    change(lab, experiment, "retry", trial=0)
    every = lab.trials(experiment)
    assert [trial.known for trial in every] == [0, 0, 1, 2]
    told = [(message["do"], message["trial"]["number"]) for message in history(lab.store, experiment.id)]
    assert told == [("created", 0), ("created", 3), ("finished", 1), ("finished", 2)]
    with lab.store.write() as tx:
        trials.start(tx, experiment.id, 0, 1, now)
        trials.finish(tx, experiment.id, 0, TrialState.SUCCEEDED, now, value=0.5)
    assert [trial.finish_order for trial in lab.trials(experiment)] == [3, 0, 2, None]


def test_a_command_that_breaks_changes_nothing_and_the_experiment_goes_on(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=2)
    sent: list[int] = []
    lab.drive(experiment, when("trial_started", 0, lambda: sent.append(send(lab, experiment.id, "enqueue"))))
    assert "it failed, and changed nothing: KeyError" in (answer(lab, sent[0]) or "")
    assert [trial.state for trial in lab.trials(experiment)] == [TrialState.SUCCEEDED] * 2
