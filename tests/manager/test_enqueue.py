"""Trials with parameters that somebody gives, while a manager runs and while none does."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from autoprune.errors import ConflictError, UsageError
from autoprune.manager.journal import Notice
from autoprune.manager.recover import history
from autoprune.records import ExperimentState, Trial
from autoprune.store import Command, Experiment, commands, experiments, trials
from autoprune.tuners import tuners

from .conftest import Lab
from .test_changes import change, own_tuner, stored, when
from .test_loop import QUICK, answer, send

SLOW_TUNER = """
    import time

    class Slow:
        def __init__(self, optimize_mode="maximize"):
            self.asked = 0

        def update_search_space(self, search_space):
            pass

        def generate_parameters(self, parameter_id, **kwargs):
            time.sleep(0.3)
            self.asked += 1
            return {"method": {"_name": "agp", "sparsity": 0.1 + self.asked / 100}}

        def receive_trial_result(self, parameter_id, parameters, value, **kwargs):
            pass
    """


def given(sparsity: float) -> dict[str, Any]:
    return {"method": {"_name": "level", "sparsity": sparsity}}


def command(lab: Lab, id: int) -> Command:
    with lab.store.read() as tx:
        return commands.get(tx, id)


def places(lab: Lab, experiment: Experiment, parameters: object) -> list[int]:
    return [trial.number for trial in lab.trials(experiment) if trial.parameters == parameters]


def test_it_runs_next_and_counts_like_any_other(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=5)
    sent: list[int] = []
    listen = when("trial_started", 1, lambda: sent.append(send(lab, experiment.id, "enqueue", parameters=given(0.625))))

    def hear(notice: Notice) -> None:
        lab.notices.append(notice)
        listen(notice)

    assert lab.drive(experiment, hear).code == 0
    every = lab.trials(experiment)
    assert [trial.number for trial in every] == list(range(5))
    (event,) = lab.events("trial_enqueued")
    assert (event["trial"], event["parameters"]) == (2, given(0.625))
    assert (command(lab, sent[0]).answer, command(lab, sent[0]).trial) == ("", 2)
    trial = every[2]
    assert (trial.parameters, trial.value, trial.state, trial.origin) == (given(0.625), 0.625, "SUCCEEDED", "")
    assert (trial.known, trial.finish_order) == (1, 2)


def test_a_number_the_tuner_was_asked_for_is_not_given_twice(lab: Lab) -> None:
    """The tuner takes long over every answer, and is asked for one as the commands come."""
    (lab.code / "slow.py").write_text(dedent(SLOW_TUNER))
    tuner = {"className": "slow.Slow", "codeDirectory": str(lab.code)}
    experiment = lab.create(tuner=tuner, maxTrialNumber=8, trialConcurrency=3)
    wanted = [given(sparsity) for sparsity in (0.2, 0.4, 0.6)]

    def enqueue() -> None:
        for parameters in wanted:
            send(lab, experiment.id, "enqueue", parameters=parameters)

    assert lab.drive(experiment, when("trial_started", 0, enqueue)).code == 0
    every = lab.trials(experiment)
    assert [trial.number for trial in every] == list(range(8))
    assert [trial.state for trial in every] == ["SUCCEEDED"] * 8
    for parameters in wanted:
        assert len(places(lab, experiment, parameters)) == 1
    asked = [trial.parameters["method"]["sparsity"] for trial in every if trial.parameters not in wanted]
    assert asked == pytest.approx([0.11, 0.12, 0.13, 0.14, 0.15]), "the tuner was asked once for each of its own"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "method: given nothing"),
        ({"method": {"_name": "agp"}}, "method/agp/sparsity: given nothing"),
        ({"method": {"_name": "app", "sparsity": 0.5}}, "expected one of: agp, level"),
        (given(1.5), "sparsity"),
        (given(float("nan")), "sparsity"),
        (given(10**400), "sparsity"),
        ({**given(0.5), "lr": 1}, "lr: given a parameter"),
        ({"method": []}, "method"),
    ],
)
def test_what_is_not_of_the_space_is_refused(lab: Lab, parameters: dict[str, Any], said: str) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=2)
    with pytest.raises(UsageError, match=said):
        change(lab, experiment, "enqueue", parameters=parameters)
    sent: list[int] = []
    then = when("trial_started", 0, lambda: sent.append(send(lab, experiment.id, "enqueue", parameters=parameters)))
    lab.drive(experiment, then)
    assert said in (answer(lab, sent[0]) or "")
    assert len(lab.trials(experiment)) == 2


def test_there_must_be_room_for_it(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=2)
    lab.drive(experiment)
    with pytest.raises(UsageError, match=r"autoprune update lab-.* --max-trials 3"):
        change(lab, experiment, "enqueue", parameters=given(0.5))
    assert stored(lab, experiment).state is ExperimentState.DONE
    change(lab, experiment, "update", maxTrialNumber=3)
    change(lab, experiment, "enqueue", parameters=given(0.5))
    lab.drive(experiment)
    assert [trial.state for trial in lab.trials(experiment)] == ["SUCCEEDED"] * 3
    assert places(lab, experiment, given(0.5)) == [2]


def test_there_must_be_time_for_it(lab: Lab) -> None:
    experiment = lab.create(maxExperimentDuration="1m")
    lab.drive(experiment)
    with pytest.raises(UsageError, match=r"autoprune update .* --max-duration"):
        change(lab, experiment, "enqueue", parameters=given(0.5))


def test_an_exhausted_search_goes_on_with_it(lab: Lab) -> None:
    space = {"x": {"_type": "choice", "_value": [1, 2]}}
    script = "import autoprune\nautoprune.report_final_result(autoprune.get_parameters()['x'])"
    experiment = lab.create(script, searchSpace=space, tuner={"name": "GridSearch"})
    lab.drive(experiment)
    change(lab, experiment, "enqueue", parameters={"x": 2})
    reopened = stored(lab, experiment)
    assert (reopened.state, "autoprune resume" in reopened.message) == (ExperimentState.STOPPED, True)
    outcome = lab.drive(experiment)
    assert (outcome.state, outcome.message) == (ExperimentState.DONE, "the search space is exhausted")
    assert [trial.parameters["x"] for trial in lab.trials(experiment)] == [1, 2, 2]


def test_starting_points_still_run_after_a_manager_takes_it_up(lab: Lab) -> None:
    """What somebody enqueued is not taken for one of them."""
    starts = [given(sparsity) for sparsity in (0.15, 0.25, 0.35)]
    experiment = lab.create(QUICK, startingPoints=starts, maxTrialNumber=6)

    def enqueue_and_stop() -> None:
        send(lab, experiment.id, "enqueue", parameters=given(0.5))
        send(lab, experiment.id, "stop")

    lab.drive(experiment, when("trial_started", 0, enqueue_and_stop))
    lab.drive(experiment)
    every = lab.trials(experiment)
    assert [trial.origin for trial in every] == ["start 0", "", "start 1", "start 2", "", ""]
    assert [trial.parameters for trial in every[:4]] == [starts[0], given(0.5), *starts[1:]]


def test_one_that_waits_can_be_killed(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=3)

    def enqueue_and_kill() -> None:
        send(lab, experiment.id, "enqueue", parameters=given(0.5))
        send(lab, experiment.id, "kill", trial=1)

    lab.drive(experiment, when("trial_started", 0, enqueue_and_kill))
    assert [trial.state for trial in lab.trials(experiment)] == ["SUCCEEDED", "USER_CANCELED", "SUCCEEDED"]


def test_the_space_of_a_task_is_known_after_its_study(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=2)
    config = {**stored(lab, experiment).config, "task": "task.py:Digits", "searchSpace": {}}
    with lab.store.write() as tx:
        experiments.set_config(tx, experiment.id, config)
    with pytest.raises(ConflictError, match="once its model has been studied"):
        change(lab, experiment, "enqueue", parameters=given(0.5))


LEARNERS = [pytest.param(name, marks=pytest.mark.slow) for name in tuners.names() if name != "Batch"]


@pytest.mark.parametrize("name", ["own", *LEARNERS])
def test_a_tuner_knows_afterwards_what_a_rebuilt_one_knows(lab: Lab, name: str) -> None:
    """The same trial enqueued, once with the manager that runs on, once with one that is stopped and resumed."""
    outcomes: list[list[tuple[object, object]]] = []
    for stops in (False, True):
        tuner = own_tuner(lab) if name == "own" else {"name": name, "classArgs": {"seed": 3}}
        experiment = lab.create(tuner=tuner, maxTrialNumber=9)

        def enqueue(id: str = experiment.id, stops: bool = stops) -> None:
            send(lab, id, "enqueue", parameters=given(0.625))
            if stops:
                send(lab, id, "stop")

        lab.drive(experiment, when("trial_started", 3, enqueue))
        if stops:
            assert lab.drive(experiment).state is ExperimentState.DONE
        every = lab.trials(experiment)
        assert places(lab, experiment, given(0.625)) == [4]
        outcomes.append([(trial.parameters, trial.value) for trial in every])
    assert outcomes[0] == outcomes[1]


def test_a_manager_that_died_leaves_it_to_the_next(lab: Lab) -> None:
    """The trial is in the store with the command's answer, so a kill -9 after that loses and doubles nothing."""
    experiment = lab.create(QUICK, maxTrialNumber=4)
    change(lab, experiment, "enqueue", parameters=given(0.5))
    told = [message["trial"]["number"] for message in history(lab.store, experiment.id)]
    assert told == [0], "a tuner that is rebuilt hears of it"
    lab.drive(experiment)
    every: list[Trial] = lab.trials(experiment)
    assert places(lab, experiment, given(0.5)) == [0]
    assert [trial.attempts for trial in every] == [1] * 4
    with lab.store.read() as tx:
        assert trials.created(tx, experiment.id) == 4
