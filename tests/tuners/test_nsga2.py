"""NSGA-II: its operators against the published formulas, and what makes up a generation."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.records import History, OptimizeMode, Proposal, Trial, TrialState
from autoprune.search_space import space_from_plain
from autoprune.tuners import nsga2
from autoprune.tuners.nsga2 import ETA, Individual, crossed, mutated, selected, tournament

from .simulated_search import ALLOCATION, maker

SPACE = space_from_plain(ALLOCATION)
MINIMIZE = OptimizeMode.MINIMIZE


@given(st.floats(0.4, 0.6), st.floats(0.4, 0.6), st.floats(0.001, 0.999))
def test_crossover_spreads_children_evenly_about_their_parents(one: float, other: float, u: float) -> None:
    """Deb and Agrawal (1995): children lie about the parents' middle, beta times as far apart, where u is the
    probability of a smaller beta under the density (eta + 1) / 2 * beta^eta, or beta^-(eta + 2) above 1."""
    near, far = crossed(one, other, u), crossed(other, one, u)
    assert near + far == pytest.approx(one + other)
    spread = crossed(0.501, 0.499, u) - crossed(0.499, 0.501, u)
    beta = spread / 0.002
    share = beta ** (ETA + 1) / 2 if beta <= 1 else 1 - beta ** -(ETA + 1) / 2
    assert share == pytest.approx(u, abs=1e-6)


@given(st.floats(0.001, 0.999))
def test_mutation_steps_have_the_polynomial_distribution(u: float) -> None:
    """Density (eta + 1) / 2 * (1 - |step|)^eta between -1 and 1."""
    step = mutated(0.5, u) - 0.5
    if abs(step) < 0.5:
        tail = (1 - abs(step)) ** (ETA + 1) / 2
        assert (tail if step < 0 else 1 - tail) == pytest.approx(u, abs=1e-6)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.999999))
def test_genes_stay_inside(one: float, other: float, u: float) -> None:
    assert 0 <= crossed(one, other, u) <= 1
    assert 0 <= mutated(one, u) <= 1


def individual(*losses: float, rank: int = 0, room: float = 0.0) -> Individual:
    return Individual({"x": losses[0]}, losses, rank, room)


def test_survivors_are_whole_fronts_and_the_sparse_part_of_the_last() -> None:
    front = [individual(0.0, 9.0), individual(4.0, 5.0), individual(4.1, 4.9), individual(9.0, 0.0)]
    behind = [individual(10.0, 10.0)]
    survivors = selected([*behind, *front], 3)
    assert {survivor.losses for survivor in survivors[:2]} == {(0.0, 9.0), (9.0, 0.0)}
    assert len(survivors) == 3
    assert behind[0].losses not in {survivor.losses for survivor in survivors}
    assert [survivor.rank for survivor in selected([*behind, *front], 5)] == [0, 0, 0, 0, 1]


def test_tournaments_go_by_rank_and_then_by_room() -> None:
    leader, roomy, crowded = (
        individual(0.0, rank=0),
        individual(1.0, rank=1, room=2.0),
        individual(2.0, rank=1, room=1.0),
    )
    random = Random(0)
    wins = [tournament([leader, roomy, crowded], random) for _ in range(2000)]
    shares = [wins.count(one) / len(wins) for one in (leader, roomy, crowded)]
    assert shares == pytest.approx([5 / 9, 3 / 9, 1 / 9], abs=0.04)


def finished(number: int, proposal: Proposal | None, loss: float | None) -> Trial:
    assert proposal is not None
    state = TrialState.FAILED if loss is None else TrialState.SUCCEEDED
    return Trial(number, state, proposal.parameters, loss, tuner_state=proposal.state, finish_order=number)


def generation(proposal: Proposal | None) -> Any:
    assert proposal is not None
    return proposal.state["inner"]["generation"]


def test_a_generation_is_the_first_to_finish_whatever_came_of_them() -> None:
    """All are asked for at once; failures count, and those that come too late do not."""
    tuner = maker("NSGA2", population_size=4)(SPACE, MINIMIZE, 1)
    asked = [tuner.ask(number, History()) for number in range(7)]
    trials = [finished(number, proposal, None if number == 1 else 0.5) for number, proposal in enumerate(asked)]
    assert [generation(tuner.ask(7, History(trials[:count]))) for count in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_children_come_from_the_best() -> None:
    """Where nothing mutates, every gene of a child lies near one of the parents', also of an imported one."""
    tuner = maker("NSGA2", population_size=2, mutation_prob=0.0)(SPACE, MINIMIZE, 1)
    proposals = [tuner.ask(number, History()) for number in range(2)]
    trials = [finished(number, proposal, 1.0 + number) for number, proposal in enumerate(proposals)]
    layers = {f"conv{layer}": 0.31 for layer in range(4)}
    imported = Trial(2, TrialState.SUCCEEDED, {"method": {"_name": "l1", **layers}}, 0.0, finish_order=2)
    history = History([imported, *trials])
    parents = [imported.parameters["method"], trials[0].parameters["method"]]
    for number in range(3, 23):
        proposal = tuner.ask(number, history)
        assert proposal is not None
        child = proposal.parameters["method"]
        assert child["_name"] in {parent["_name"] for parent in parents}
        assert all(min(abs(child[key] - parent[key]) for parent in parents) < 0.2 for key in layers)


def test_a_child_that_would_repeat_a_parent_mutates() -> None:
    tuner = maker("NSGA2", population_size=2, crossover_prob=0.0)(SPACE, MINIMIZE, 1)
    trials = [finished(number, tuner.ask(number, History()), 1.0) for number in range(2)]
    points = [trial.tuner_state["point"] for trial in trials]
    for number in range(2, 22):
        proposal = tuner.ask(number, History(trials))
        assert proposal is not None
        assert proposal.state["point"] not in points


def test_where_all_fail_it_draws_on() -> None:
    tuner = maker("NSGA2", population_size=2)(SPACE, MINIMIZE, 1)
    trials = [finished(number, tuner.ask(number, History()), None) for number in range(5)]
    assert tuner.ask(5, History(trials)) is not None


def test_arguments_make_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(**class_args: Any) -> Any:
        tuner = maker("NSGA2", population_size=2, **class_args)(SPACE, MINIMIZE, 1)
        trials = [finished(number, tuner.ask(number, History()), 1.0) for number in range(2)]
        return [tuner.ask(number, History(trials)) for number in range(2, 8)]

    plain = child()
    assert child(mutation_prob=1.0) != plain
    assert child(crossover_prob=0.0) != plain
    monkeypatch.setattr(nsga2, "ETA", 2.0)
    assert child() != plain


def test_running_trials_do_not_count() -> None:
    tuner = maker("NSGA2", population_size=2)(SPACE, MINIMIZE, 1)
    trials = [finished(number, tuner.ask(number, History()), 1.0) for number in range(2)]
    running = [replace(trial, state=TrialState.RUNNING, value=None) for trial in trials]
    assert generation(tuner.ask(2, History((), running))) == 0
