"""Anneal and the trials that still run."""

from __future__ import annotations

from random import Random

from autoprune.records import History, Trial, TrialState
from autoprune.search_space import sample, space_from_plain
from autoprune.tuners.anneal import Anneal, AnnealArgs

SPACE = space_from_plain({name: {"_type": "uniform", "_value": [0, 1]} for name in "xyz"})
DRAW = Random(1)
FINISHED = [Trial(n, TrialState.SUCCEEDED, sample(SPACE, DRAW), DRAW.random(), finish_order=n) for n in range(30)]
RUNNING = [Trial(30 + n, TrialState.RUNNING, sample(SPACE, DRAW)) for n in range(9)]


def spread(running: list[Trial]) -> float:
    """How far proposals lie from the best finished trial, on average over seeds and dimensions."""
    best = max(FINISHED, key=lambda trial: trial.value or 0.0).parameters
    distances = []
    for seed in range(60):
        args = AnnealArgs(avg_best_idx=1.0)
        proposal = Anneal(SPACE, args, seed).ask(40, History(FINISHED, running))
        distances += [abs(proposal.parameters[name] - best[name]) for name in "xyz"]
    return sum(distances) / len(distances)


def test_running_trials_narrow_the_neighbourhood_as_finished_ones_would() -> None:
    assert spread(RUNNING) < spread([])


def test_what_ran_is_not_remembered() -> None:
    tuner = Anneal(SPACE, AnnealArgs(), 1)
    before = tuner.ask(40, History(FINISHED))
    tuner.ask(40, History(FINISHED, RUNNING))
    assert tuner.ask(40, History(FINISHED)) == before
