"""The front of several objectives: by its definition, for every number of them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_workspace import Sample, clock

from autoprune.pareto import fronts
from autoprune.records import ExperimentState, TrialState
from autoprune.results import Results
from autoprune.store import Experiment, experiments

_some = st.integers(1, 4).flatmap(
    lambda size: st.lists(st.lists(st.integers(-3, 3).map(float), min_size=size, max_size=size), max_size=25)
)


def dominates(one: list[float], other: list[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


@given(_some)
def test_a_front_is_what_nothing_dominates(losses: list[list[float]]) -> None:
    expected = [place for place, one in enumerate(losses) if not any(dominates(other, one) for other in losses)]
    assert fronts(losses, 1) == ([expected] if losses else [])


def test_a_front_of_thousands() -> None:
    random = Random(1)
    losses = [[random.random() for _ in range(3)] for _ in range(10_000)]
    (found,) = fronts(losses, 1)
    kept = [losses[place] for place in found]
    assert not any(dominates(other, one) for one in kept for other in kept)
    some = random.sample(range(10_000), 300)
    assert all(any(dominates(one, losses[place]) for one in kept) for place in some if place not in found)


def with_objectives(empty: Sample, *reports: dict[str, float], **arguments: Any) -> Results:
    config = {"tuner": {"name": "NSGA2", "classArgs": arguments}}
    with empty.store.write() as tx:
        experiments.create(tx, Experiment(empty.id, "digits", config, 7, ExperimentState.RUNNING, clock(0)))
    for number, report in enumerate(reports):
        empty.add(number)
        empty.start(number)
        empty.finish(number, TrialState.SUCCEEDED, report["default"], values=report)
    return Results(empty.workspace, empty.store)


REPORTS = [
    {"default": 0.9, "macs": 30.0},
    {"default": 0.8, "macs": 10.0},
    {"default": 0.8, "macs": 20.0},
    {"default": 0.95, "macs": 40.0},
    {"default": 0.8, "macs": 10.0},
    {"default": 0.99},
]


def test_the_front_of_an_experiment_with_the_best_value_first(empty: Sample) -> None:
    page = with_objectives(empty, *REPORTS, objectives={"macs": "minimize"}).pareto()
    assert [trial.number for trial in page.items] == [3, 0, 1, 4]
    assert page.items[0].objectives == {"default": 0.95, "macs": 40.0}
    assert page.next is None


def test_directions_count(empty: Sample) -> None:
    results = with_objectives(empty, *REPORTS, optimize_mode="minimize", objectives={"macs": "maximize"})
    assert [trial.number for trial in results.pareto().items] == [2, 0, 3]


@pytest.mark.parametrize("meaning", [None, {}, ["macs"], {"macs": 3}, "many"])
def test_what_an_own_tuner_calls_objectives_need_not_be_ours(empty: Sample, meaning: Any) -> None:
    results = with_objectives(empty, *REPORTS, objectives=meaning)
    assert [trial.number for trial in results.pareto().items] == [5]


def test_with_one_objective_the_front_is_the_best(sample: Sample) -> None:
    results = Results(sample.workspace, sample.store)
    assert [trial.number for trial in results.pareto().items] == [1, 2]
    assert results.pareto().items[0].number == results.best().number


def test_an_experiment_without_a_success_has_an_empty_front(fresh: Sample) -> None:
    assert Results(fresh.workspace, fresh.store).pareto().items == []
