"""CMA-ES: the library's own course, read off the history; and what is done where the library asks for more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cmaes import CMA

from autoprune.records import History, OptimizeMode, Proposal, Trial, TrialState
from autoprune.search_space import Space, space_from_plain
from autoprune.tuners import Tuner
from autoprune.tuners.cma_es import CmaEs

from .simulated_search import maker, search

MINIMIZE = OptimizeMode.MINIMIZE


def units(count: int) -> Space:
    return space_from_plain({f"x{i}": {"_type": "uniform", "_value": [0, 1]} for i in range(count)})


def bowl(parameters: Any) -> float:
    return float(sum((value - 0.2 - 0.1 * i) ** 2 for i, value in enumerate(parameters.values())))


def proposal_of(tuner: Tuner, number: int, trials: list[Trial]) -> Proposal:
    proposal = tuner.ask(number, History(trials))
    assert proposal is not None
    return proposal


def finished(number: int, proposal: Proposal, loss: float | None) -> Trial:
    state = TrialState.FAILED if loss is None else TrialState.SUCCEEDED
    return Trial(number, state, proposal.parameters, loss, tuner_state=proposal.state, finish_order=number)


def run(tuner: Tuner, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        proposal = proposal_of(tuner, number, trials)
        trials.append(finished(number, proposal, bowl(proposal.parameters)))
    return trials


def test_the_course_is_the_librarys() -> None:
    """The same points told to `cmaes` itself lead to the same points, in every generation."""
    tuner = maker("CmaEs", sigma=0.2)(units(3), MINIMIZE, 5)
    bounds = np.array([[0.0, 1.0]] * 3)
    reference = CMA(mean=np.full(3, 0.5), sigma=0.2, bounds=bounds)
    told: list[tuple[Any, float]] = []
    for trial in run(tuner, 60):
        reference.reseed_rng(tuner.seed_for(trial.number))
        expected = reference.ask()
        assert list(trial.parameters.values()) == pytest.approx(list(expected), rel=1e-12)
        told.append((expected, trial.value or 0.0))
        if len(told) == reference.population_size:
            reference.tell(told)
            told = []
    assert reference.generation > 5


def test_it_finds_the_bottom_of_a_bowl() -> None:
    trials = run(maker("CmaEs")(units(5), MINIMIZE, 1), 400)
    assert min(trial.value or 0.0 for trial in trials) < 1e-4


def test_one_dimension_is_enough() -> None:
    trials = run(maker("CmaEs")(units(1), MINIMIZE, 1), 60)
    assert min(trial.value or 0.0 for trial in trials) < 1e-4


def test_a_choice_is_cut_into_equal_parts() -> None:
    space = space_from_plain(
        {"c": {"_type": "choice", "_value": list("abc")}, "x": {"_type": "randint", "_value": [0, 4]}}
    )
    tuner = maker("CmaEs", sigma=1.0)(space, MINIMIZE, 1)
    seen = set()
    for number in range(80):
        proposal = proposal_of(tuner, number, [])
        c, x = proposal.state["inner"]["place"]
        assert proposal.parameters == {"c": "abc"[min(int(c * 3), 2)], "x": min(int(x * 4), 3)}
        seen.add((proposal.parameters["c"], proposal.parameters["x"]))
    assert len(seen) == 12


def test_failures_complete_a_generation_as_its_worst() -> None:
    """So a failed trial has the same effect as one that is worse than all others."""
    tuner = maker("CmaEs", population_size=6)(units(2), MINIMIZE, 1)
    proposals = [proposal_of(tuner, number, []) for number in range(6)]
    losses = [0.5, 0.1, None, 0.3, 0.2, 0.4]
    failed = [finished(n, p, loss) for n, (p, loss) in enumerate(zip(proposals, losses, strict=True))]
    worst = [
        replace(trial, value=9.0, state=TrialState.SUCCEEDED) if trial.value is None else trial for trial in failed
    ]
    best = [replace(trial, value=0.0, state=TrialState.SUCCEEDED) if trial.value is None else trial for trial in failed]
    one, same, other = (
        proposal_of(maker("CmaEs", population_size=6)(units(2), MINIMIZE, 1), 6, trials)
        for trials in (failed, worst, best)
    )
    assert one == same != other
    assert one.state["inner"]["generation"] == 1
    all_failed = [replace(trial, value=None, state=TrialState.FAILED) for trial in failed]
    assert proposal_of(tuner, 6, all_failed).state["inner"]["generation"] == 1


def test_only_ranks_count() -> None:
    """Any rising function of the losses gives the same course."""
    trials = run(maker("CmaEs")(units(3), MINIMIZE, 1), 50)
    bent = [replace(trial, value=1e300 * (trial.value or 0.0) ** 3) for trial in trials]
    new = maker("CmaEs")(units(3), MINIMIZE, 1)
    assert new.ask(50, History(bent)) == maker("CmaEs")(units(3), MINIMIZE, 1).ask(50, History(trials))


def test_trials_that_come_too_late_make_no_difference() -> None:
    """All are asked for at once, so the generation is over before the last of them finish."""
    make = maker("CmaEs", population_size=4)
    proposals = [proposal_of(make(units(2), MINIMIZE, 1), number, []) for number in range(7)]
    trials = [finished(number, proposal, bowl(proposal.parameters)) for number, proposal in enumerate(proposals)]
    assert make(units(2), MINIMIZE, 1).ask(7, History(trials)) == make(units(2), MINIMIZE, 1).ask(
        7, History(trials[:4])
    )


def test_where_it_has_converged_it_starts_anew_with_twice_the_population() -> None:
    space = units(1)
    tuner = CmaEs(space, CmaEs.Args.model_validate({"optimize_mode": MINIMIZE}), 1)
    first = tuner.size
    trials = run(tuner, 600)
    assert tuner.size in (2 * first, 4 * first)
    values = [trial.parameters["x0"] for trial in trials]
    converged = next(i for i in range(20, 600) if np.ptp(values[i - 20 : i]) < 1e-6)
    assert np.ptp(values[converged:]) > 0.1
    assert CmaEs(space, tuner.args, 1).ask(600, History(trials)) == tuner.ask(600, History(trials))


def test_a_history_of_any_length_is_followed_at_once() -> None:
    asked = search(maker("CmaEs")(units(4), MINIMIZE, 3), 300)
    last = asked[-1]
    assert maker("CmaEs")(units(4), MINIMIZE, 3).ask(last.number, last.history) == last.proposal


@pytest.mark.parametrize("wrong", [{"population_size": 3}, {"sigma": 0.0}, {"sigma": 2.0}])
def test_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        maker("CmaEs", **wrong)(units(2), MINIMIZE, 1)
