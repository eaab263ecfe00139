"""Anneal, the trials that still run, and how few of the finished ones it needs."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.records import History, Trial, TrialState
from autoprune.search_space import Space, flatten, sample, space_from_plain
from autoprune.tuners import anneal
from autoprune.tuners.anneal import Anneal, AnnealArgs

SPACE = space_from_plain({name: {"_type": "uniform", "_value": [0, 1]} for name in "xyz"})
DRAW = Random(1)
FINISHED = [Trial(n, TrialState.SUCCEEDED, sample(SPACE, DRAW), DRAW.random(), finish_order=n) for n in range(30)]
RUNNING = [Trial(30 + n, TrialState.RUNNING, sample(SPACE, DRAW)) for n in range(9)]


def args(**given: Any) -> AnnealArgs:
    return AnnealArgs.model_validate(given)


def sampled(space: Space, count: int) -> list[Trial]:
    draw = Random(2)
    return [Trial(n, TrialState.SUCCEEDED, sample(space, draw), draw.random(), finish_order=n) for n in range(count)]


def spread(running: list[Trial]) -> float:
    """How far proposals lie from the best finished trial, on average over seeds and dimensions."""
    best = max(FINISHED, key=lambda trial: trial.value or 0.0).parameters
    distances = []
    for seed in range(60):
        proposal = Anneal(SPACE, args(avg_best_idx=1.0), seed).ask(40, History(FINISHED, running))
        distances += [abs(proposal.parameters[name] - best[name]) for name in "xyz"]
    return sum(distances) / len(distances)


def test_running_trials_narrow_the_neighbourhood_as_finished_ones_would() -> None:
    assert spread(RUNNING) < spread([])


def test_what_ran_is_not_remembered() -> None:
    tuner = Anneal(SPACE, args(), 1)
    before = tuner.ask(40, History(FINISHED))
    tuner.ask(40, History(FINISHED, RUNNING))
    assert tuner.ask(40, History(FINISHED)) == before


@pytest.mark.parametrize("mean", [1.0, 2.0, 7.5])
@pytest.mark.parametrize("name", SPACES)
def test_the_best_trials_and_their_number_are_all_that_hyperopt_needs(name: str, mean: float) -> None:
    """The answers are those that hyperopt gives when it is shown every trial."""
    from hyperopt import anneal as hyperopt_anneal
    from hyperopt.base import trials_from_docs

    space = space_from_plain(SPACES[name])
    trials = sampled(space, 600)
    for seed in range(3):
        tuner = Anneal(space, args(avg_best_idx=mean), seed)
        proposal = tuner.ask(600, History(trials))
        assert max(map(len, tuner._best.values())) < 600
        shown = trials_from_docs([tuner._document(trial, tuner.loss(trial)) for trial in trials], validate=False)
        (asked,) = hyperopt_anneal.suggest([600], tuner._domain, shown, tuner.seed_for(600), mean)
        expected = {path: value for path, (value,) in pairs(asked["misc"]["vals"])}
        dimensions = dict(space.dimensions())
        for path, value in flatten(space, proposal.parameters).items():
            dimension = dimensions[path]
            assert value == (expected[path] if dimension.kind == "choice" else dimension.from_unit(expected[path]))


def pairs(values: dict[str, list[float]]) -> list[tuple[str, list[float]]]:
    return [(path, value) for path, value in values.items() if len(value)]


@pytest.mark.parametrize("mean", [1.01, 2.0, 100.0])
def test_a_rank_beyond_those_kept_is_never_drawn(mean: float) -> None:
    """By the tail of the geometric distribution, (1 - 1/mean) ** ranks."""
    ranks = anneal.ranks_drawn(mean)
    assert (1 - 1 / mean) ** ranks <= 2**-53 * 1.0001
    assert (1 - 1 / mean) ** (ranks - 1) > 2**-53


def test_the_best_alone_is_one_rank() -> None:
    assert anneal.ranks_drawn(1.0) == 1
