"""Aging evolution: who may be a parent, and what a child differs in."""

from __future__ import annotations

import statistics
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.records import History, Parameters, Trial, TrialState
from autoprune.search_space import Choice, Space, flatten, sample, space_from_plain
from autoprune.tuners.evolution import Evolution, EvolutionArgs

SPACE = space_from_plain({f"x{index}": {"_type": "uniform", "_value": [0, 1]} for index in range(4)})


def evolution(space: Space = SPACE, seed: int = 1, **given: Any) -> Evolution:
    return Evolution(space, EvolutionArgs.model_validate({"optimize_mode": "minimize", **given}), seed)


def sampled(space: Space, count: int) -> list[Trial]:
    draw = Random(3)
    return [Trial(n, TrialState.SUCCEEDED, sample(space, draw), draw.random(), finish_order=n) for n in range(count)]


def parents(child: Parameters, trials: list[Trial]) -> list[int]:
    """The trials that differ from the child in one dimension."""
    flat = flatten(SPACE, child)
    others = {trial.number: flatten(SPACE, trial.parameters) for trial in trials}
    return [number for number, other in others.items() if sum(flat[path] != other[path] for path in flat) == 1]


def all_parents(trials: list[Trial], **given: Any) -> set[int]:
    children = [evolution(seed=seed, **given).ask(99, History(trials)).parameters for seed in range(60)]
    found = [parents(child, trials) for child in children]
    assert all(len(numbers) == 1 for numbers in found)
    return {number for numbers in found for number in numbers}


def test_the_first_are_random() -> None:
    trials = sampled(SPACE, 32)
    drawn = sample(SPACE, Random(evolution().seed_for(40)))
    assert evolution().ask(40, History(trials[:31])).parameters == drawn
    assert evolution().ask(40, History(trials)).parameters != drawn
    failed = [replace(trials[0], state=TrialState.FAILED, value=None), *trials[1:]]
    assert evolution().ask(40, History(failed)).parameters == drawn


def test_the_best_of_the_newest_has_the_children() -> None:
    """The best of all is too old."""
    trials = sampled(SPACE, 20)
    trials[2] = replace(trials[2], value=-1.0)
    best = min(trials[-10:], key=lambda trial: trial.value or 0.0)
    assert all_parents(trials, population_size=10, tournament_size=10) == {best.number}


def test_what_has_no_value_is_not_in_the_population() -> None:
    trials = sampled(SPACE, 10)
    failed = replace(trials[4], number=10, state=TrialState.FAILED, value=None)
    strange = replace(trials[4], number=11, parameters={"y": 1})
    assert all_parents(trials, population_size=10, tournament_size=10) == all_parents(
        [*trials, failed], population_size=10, tournament_size=10
    )
    child = evolution(population_size=10).ask(99, History([*trials, failed, strange])).parameters
    assert len(parents(child, trials)) == 1


def test_a_tournament_of_one_is_won_by_anyone() -> None:
    trials = sampled(SPACE, 8)
    assert all_parents(trials, population_size=5, tournament_size=1) == {3, 4, 5, 6, 7}


def test_a_larger_tournament_is_won_by_better_trials() -> None:
    trials = sampled(SPACE, 16)
    ranked = sorted(trials, key=lambda trial: trial.value or 0.0)
    losers = {trial.number for trial in ranked[-7:]}
    assert not losers & all_parents(trials, population_size=16, tournament_size=8)


@pytest.mark.parametrize("name", SPACES)
def test_a_child_differs_in_one_dimension_and_what_it_opens(name: str) -> None:
    space = space_from_plain(SPACES[name])
    dimensions = dict(space.dimensions())
    (parent,) = sampled(space, 1)
    before = flatten(space, parent.parameters)
    for seed in range(100):
        child = evolution(space, seed, population_size=1).ask(1, History([parent])).parameters
        after = flatten(space, child)
        changed = [path for path in before if path in after and before[path] != after[path]]
        assert len(changed) == 1
        gone = before.keys() ^ after.keys()
        assert all(path.startswith(f"{changed[0]}/") for path in gone)
        assert not gone or isinstance(dimensions[changed[0]], Choice)


def test_numbers_change_by_a_step() -> None:
    """From the middle by a fifth of the range; near a bound never across it."""
    steps = []
    for start in (0.5, 0.99):
        parent = Trial(0, TrialState.SUCCEEDED, dict.fromkeys(SPACE.members, start), 1.0)
        children = [evolution(seed=n, population_size=1).ask(1, History([parent])).parameters for n in range(400)]
        steps.append([value - start for child in children for value in child.values() if value != start])
    middle, edge = steps
    assert 0.17 < statistics.stdev(middle) < 0.23
    assert abs(statistics.mean(middle)) < 0.03
    assert max(edge) <= 0.01
    assert statistics.mean(abs(step) for step in edge) < 0.25


@pytest.mark.parametrize(
    "definition",
    [
        {"_type": "randint", "_value": [0, 2]},
        {"_type": "quniform", "_value": [0, 1, 1]},
        {"_type": "qloguniform", "_value": [1, 100, 33]},
        {"_type": "choice", "_value": ["a", "b"]},
    ],
)
def test_few_values_change_too(definition: Any) -> None:
    space = space_from_plain({"x": definition})
    for parent in sampled(space, 6):
        for seed in range(20):
            child = evolution(space, seed, population_size=1).ask(9, History([parent])).parameters
            assert child != parent.parameters


def test_where_nothing_can_change_the_parent_comes_again() -> None:
    plain: Any = {"a": {"_type": "choice", "_value": ["this"]}, "b": {"_type": "qnormal", "_value": [0, 1e-3, 1]}}
    for only in ({"a": plain["a"]}, {"b": plain["b"]}):
        space = space_from_plain(only)
        (parent,) = sampled(space, 1)
        assert evolution(space, population_size=1).ask(1, History([parent])).parameters == parent.parameters


@pytest.mark.parametrize("name", ["population_size", "tournament_size"])
def test_arguments_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        evolution(**{name: 0})
