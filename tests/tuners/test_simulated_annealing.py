"""Simulated annealing beside the contract: its temperatures, its steps, and what it accepts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import space_from_plain
from autoprune.tuners.simulated_annealing import SimulatedAnnealing

from .simulated_search import maker

MINIMIZE = OptimizeMode.MINIMIZE
PLAIN: dict[str, Any] = {name: {"_type": "uniform", "_value": [0, 1]} for name in "abc"}
MIDDLE = dict.fromkeys("abc", 0.5)


def tuner(seed: int = 1, **class_args: Any) -> Any:
    return maker("SimulatedAnnealing", **class_args)(space_from_plain(PLAIN), MINIMIZE, seed)


def start(loss: float, parameters: dict[str, float] = MIDDLE, number: int = 0) -> Trial:
    return Trial(number, TrialState.SUCCEEDED, parameters, loss, {"default": loss}, origin="start")


def finished(number: int, proposal: Any, loss: float) -> Trial:
    return Trial(number, TrialState.SUCCEEDED, proposal.parameters, loss, tuner_state=proposal.state)


def distance(one: Any, other: Any) -> float:
    return max(abs(one[name] - other[name]) for name in "abc")


def test_the_temperature_falls_by_a_tenth_and_stops() -> None:
    made = SimulatedAnnealing(space_from_plain(PLAIN), SimulatedAnnealing.Args(), 1)
    assert [made.heat(step) for step in range(4)] == pytest.approx([1, 0.9, 0.81, 0.729])
    assert made.heat(15) > made.heat(16) == made.heat(1000) == 0.2


def test_steps_shrink_with_the_temperature() -> None:
    """All trials fail, so all are steps from the starting point."""
    search = tuner()
    trials = [start(0.0)]
    steps = []
    for number in range(1, 400):
        proposal = search.ask(number, History(trials))
        steps.append(distance(proposal.parameters, MIDDLE))
        trials.append(replace(finished(number, proposal, 0.0), state=TrialState.FAILED, value=None))
        assert steps[-1] <= 0.35 * max(0.9 ** (number - 1), 0.2) + 1e-12
    assert max(steps[:5]) > 0.35 * 0.5
    assert max(steps[100:]) == pytest.approx(0.35 * 0.2, rel=0.02)


def test_it_begins_at_the_best_starting_point() -> None:
    best = {"a": 0.1, "b": 0.2, "c": 0.3}
    trials = [start(3.0), start(1.0, best, 1), start(2.0, dict.fromkeys("abc", 0.9), 2)]
    search = tuner(perturbation_magnitude=0.01)
    assert distance(search.ask(3, History(trials)).parameters, best) <= 0.01


def moved_share(loss: float, earlier: int) -> float:
    """How often a result of this loss is stepped from, after so many steps whose results were 1 away, above 0."""
    moved = 0
    for seed in range(100):
        search = tuner(seed, perturbation_magnitude=0.2)
        trials = [start(0.0)]
        for number in range(1, earlier + 1):
            trials.append(finished(number, search.ask(number, History(trials)), -float(number)))
        centre = trials[-1].parameters
        proposal = search.ask(earlier + 1, History(trials))
        trials.append(finished(earlier + 1, proposal, loss - earlier))
        following = search.ask(earlier + 2, History(trials)).parameters
        moved += distance(following, proposal.parameters) < distance(following, centre)
    return moved / 100


def test_a_better_result_is_always_accepted_and_a_loss_by_its_energy() -> None:
    """Told by which of the two points the next step is nearer to, which it mostly is to the one that it leaves."""
    assert moved_share(-1.0, 4) > 0.8
    assert moved_share(1000.0, 30) < 0.3
    assert moved_share(1000.0, 30) < moved_share(1.0, 2) < moved_share(-1.0, 2)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_of_the_results_makes_no_difference(unit: float) -> None:
    def course(factor: float) -> list[Any]:
        search, trials = tuner(), [start(0.3 * factor)]
        for number in range(1, 30):
            proposal = search.ask(number, History(trials))
            loss = math.fsum((value - 0.2) ** 2 for value in proposal.parameters.values())
            trials.append(finished(number, proposal, loss * factor))
        return [trial.parameters for trial in trials]

    assert course(unit) == course(2.0**10)


def test_repeats_and_early_stopped_trials_are_passed_over() -> None:
    trials = [start(1.0)]
    answer = tuner().ask(5, History(trials))
    stopped = Trial(1, TrialState.EARLY_STOPPED, dict.fromkeys("abc", 0.1), -9.0)
    repeat = Trial(2, TrialState.SUCCEEDED, dict.fromkeys("abc", 0.1), -9.0, repeat_of=0)
    assert tuner().ask(5, History([*trials, stopped, repeat])) == answer


@pytest.mark.parametrize(
    "wrong", [{"stop_temperature": 200.0}, {"cool_down_rate": 1.0}, {"perturbation_magnitude": 0.0}]
)
def test_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        tuner(**wrong)
