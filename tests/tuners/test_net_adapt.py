"""NetAdapt beside the contract: rounds, what a step is, and when it turns and halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autoprune.compression.core.scaling import scale_to_target
from autoprune.records import History, OptimizeMode, Parameters, Trial, TrialState
from autoprune.search_space import space_from_plain
from autoprune.tuners import Tuner

from .simulated_search import maker

MINIMIZE = OptimizeMode.MINIMIZE
NAMES = ("a", "b", "c")
PLAIN: dict[str, Any] = {name: {"_type": "uniform", "_value": [0, 1]} for name in NAMES}
BEGIN = {"a": 0.5, "b": 0.6, "c": 0.8}


def tuner(**class_args: Any) -> Tuner:
    return maker("NetAdapt", **class_args)(space_from_plain(PLAIN), MINIMIZE, 1)


def run(
    search: Tuner, count: int, loss: Callable[[Parameters], float], begin: Parameters | None = BEGIN
) -> list[Trial]:
    trials = [] if begin is None else [Trial(0, TrialState.SUCCEEDED, begin, loss(begin), origin="start")]
    for number in range(len(trials), count):
        proposal = search.ask(number, History(trials))
        assert proposal is not None
        value = loss(proposal.parameters)
        trials.append(Trial(number, TrialState.SUCCEEDED, proposal.parameters, value, tuner_state=proposal.state))
    return trials


def changed(trial: Trial, centre: Parameters) -> dict[str, float]:
    return {name: trial.parameters[name] for name in NAMES if trial.parameters[name] != centre[name]}


def test_a_round_prunes_each_parameter_a_step_more() -> None:
    """Its density loses 30 %."""
    trials = run(tuner(), 4, lambda _: 1.0)
    found = [changed(trial, BEGIN) for trial in trials[1:]]
    assert found == [{"a": pytest.approx(0.65)}, {"b": pytest.approx(0.72)}, {"c": pytest.approx(0.86)}]


def test_the_best_of_a_round_is_where_the_next_begins() -> None:
    trials = run(tuner(), 5, lambda parameters: -parameters["b"])
    assert trials[4].parameters["b"] == pytest.approx(0.72)
    assert changed(trials[4], trials[2].parameters) == {"a": pytest.approx(0.65)}


def test_a_round_without_gain_turns_and_two_halve_the_step() -> None:
    trials = run(tuner(step=0.2), 11, lambda parameters: 0.0 if parameters == BEGIN else 1.0)
    steps = [changed(trial, BEGIN)["c"] for trial in trials if "c" in changed(trial, BEGIN)]
    assert steps == [
        pytest.approx(1 - 0.2 * 0.8),
        pytest.approx(1 - 0.2 / 0.8),
        pytest.approx(1 - 0.2 * 0.9),
    ]


def test_without_a_starting_point_it_begins_in_the_middle() -> None:
    trials = run(tuner(), 3, lambda _: 1.0, begin=None)
    assert trials[0].parameters == dict.fromkeys(NAMES, 0.5)
    assert changed(trials[1], trials[0].parameters) == {"b": pytest.approx(0.65)}


def test_a_choice_takes_its_next_option_and_a_whole_number_the_next_at_least() -> None:
    plain = {
        "c": {"_type": "choice", "_value": ["x", "y", "z"]},
        "n": {"_type": "randint", "_value": [0, 9]},
    }
    search = maker("NetAdapt", step=0.001)(space_from_plain(plain), MINIMIZE, 1)
    trials = run(search, 5, lambda _: 1.0, begin={"c": "z", "n": 4})
    assert [trial.parameters for trial in trials[1:]] == [
        {"c": "x", "n": 4},
        {"c": "z", "n": 5},
        {"c": "y", "n": 4},
        {"c": "z", "n": 3},
    ]


def test_while_the_last_of_a_round_run_others_take_half_the_step() -> None:
    begin = Trial(0, TrialState.SUCCEEDED, BEGIN, 1.0, origin="start")
    running: list[Trial] = []
    for number in range(1, 6):
        proposal = tuner().ask(number, History([begin], running))
        assert proposal is not None
        running.append(Trial(number, TrialState.RUNNING, proposal.parameters, tuner_state=proposal.state))
    assert changed(running[3], BEGIN) == {"a": pytest.approx(1 - 0.5 * 0.85)}
    assert changed(running[4], BEGIN) == {"b": pytest.approx(1 - 0.4 * 0.85)}


def test_a_better_trial_from_elsewhere_is_where_it_goes_on() -> None:
    trials = run(tuner(), 3, lambda _: 1.0)
    better = Trial(9, TrialState.SUCCEEDED, dict.fromkeys(NAMES, 0.1), 0.0)
    proposal = tuner().ask(10, History([*trials, better]))
    assert proposal is not None
    assert proposal.parameters == {"a": 0.1, "b": 0.1, "c": pytest.approx(0.37)}
    stopped = Trial(9, TrialState.EARLY_STOPPED, dict.fromkeys(NAMES, 0.1), 0.0)
    assert tuner().ask(10, History([*trials, stopped])) == tuner().ask(10, History(trials))


def test_at_one_budget_it_finds_which_layer_can_pay() -> None:
    """Scaled to 80 %, only the first layer matters: each round lets others pay for it."""
    sizes = {"a": 1000, "b": 1000, "c": 1000}

    def loss(parameters: Parameters) -> float:
        return scale_to_target(parameters, sizes, 0.8)["a"]

    begin = dict.fromkeys(NAMES, 0.8)
    assert loss(begin) == pytest.approx(0.8)
    assert min(trial.value or 0.0 for trial in run(tuner(), 30, loss, begin)) < 0.6
