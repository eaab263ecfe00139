"""What TPE adds to the contract: a bounded history, and running trials that push others away."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace
from itertools import combinations

import pytest
from sample_spaces import SPACES

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import Space, sample, space_from_plain
from autoprune.tuners import tpe
from autoprune.tuners._optuna import chosen

from .simulated_search import ALLOCATION, any_objective, maker, proposals, search

SPACE = space_from_plain({f"x{i}": {"_type": "uniform", "_value": [0, 1]} for i in range(2)})


def sampled(space: Space, count: int) -> list[Trial]:
    generator = random.Random(0)
    drawn = [sample(space, generator) for _ in range(count)]
    return [Trial(n, TrialState.SUCCEEDED, p, any_objective(p), known=n, finish_order=n) for n, p in enumerate(drawn)]


def test_the_best_and_the_newest_are_seen() -> None:
    known = [(trial, (trial.value or 0.0,)) for trial in sampled(SPACE, 1000)]
    seen = chosen(known, tpe.BEST, tpe.NEWEST)
    assert len(seen) == tpe.BEST + tpe.NEWEST
    assert seen[-tpe.NEWEST :] == known[-tpe.NEWEST :]
    assert sorted(seen, key=lambda pair: pair[0].number) == seen
    assert sorted(losses for _, losses in seen)[:25] == sorted(losses for _, losses in known)[:25]


def test_a_stopped_trial_is_never_among_the_best() -> None:
    known = [(trial, (trial.value or 0.0,)) for trial in sampled(SPACE, 1000)]
    known[3] = (replace(known[3][0], state=TrialState.EARLY_STOPPED), (-1.0,))
    assert known[3] not in chosen(known, tpe.BEST, tpe.NEWEST)
    known = [(replace(trial, state=TrialState.EARLY_STOPPED), losses) for trial, losses in known]
    assert len(chosen(known, tpe.BEST, tpe.NEWEST)) == tpe.BEST + tpe.NEWEST


def test_at_most_400_are_seen_at_any_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tpe.BEST + tpe.NEWEST + tpe.GROWTH == 400
    monkeypatch.setattr(tpe, "BEST", 4)
    monkeypatch.setattr(tpe, "NEWEST", 8)
    monkeypatch.setattr(tpe, "GROWTH", 4)
    space = space_from_plain(SPACES["choice in choice"])
    make = maker("TPE")
    asked = search(make(space, OptimizeMode.MAXIMIZE, 1), 60)
    for ask in asked:
        fresh = make(space, OptimizeMode.MAXIMIZE, 1)
        assert fresh.ask(ask.number, ask.history) == ask.proposal
        assert isinstance(fresh, tpe.TPE)
        assert fresh._study is not None
        told = [trial for trial in fresh._study.get_trials(deepcopy=False) if trial.state.name != "FAIL"]
        usable = sum(trial.value is not None for trial in ask.history.finished)
        assert len(told) == usable if usable < 16 else len(told) < 16


def test_running_trials_make_a_difference_and_do_not_collapse() -> None:
    finished = tuple(sampled(SPACE, 40))
    tuner = maker("TPE")(SPACE, OptimizeMode.MINIMIZE, 1)
    alone = tuner.ask(40, History(finished))
    assert alone is not None
    running: list[Trial] = []
    for number in range(40, 48):
        proposal = tuner.ask(number, History(finished, tuple(running)))
        assert proposal is not None
        running.append(Trial(number, TrialState.RUNNING, proposal.parameters))
    beside = tuner.ask(40, History(finished, (replace(running[0], number=39),)))
    assert beside != alone
    gaps = [
        max(abs(a.parameters[key] - b.parameters[key]) for key in SPACE.members) for a, b in combinations(running, 2)
    ]
    assert min(gaps) > 1e-3


def test_arguments_are_checked_and_used() -> None:
    space = space_from_plain(SPACES["seed"])
    plain = proposals(search(maker("TPE")(space, OptimizeMode.MAXIMIZE, 1), 30))
    assert proposals(search(maker("TPE", n_ei_candidates=2)(space, OptimizeMode.MAXIMIZE, 1), 30)) != plain
    assert proposals(search(maker("TPE", multivariate=False)(space, OptimizeMode.MAXIMIZE, 1), 30)) != plain
    with pytest.raises(ValueError, match="n_startup_trials"):
        maker("TPE", n_startup_trials=-1)(space, OptimizeMode.MAXIMIZE, 1)


@pytest.mark.slow
def test_an_ask_after_ten_thousand_trials_costs_as_much_as_after_four_hundred() -> None:
    space = space_from_plain(ALLOCATION)
    trials = sampled(space, 10_040)

    def median(count: int) -> float:
        tuner = maker("TPE")(space, OptimizeMode.MAXIMIZE, 1)
        took = []
        for number in range(count, count + 40):
            start = time.process_time()
            tuner.ask(number, History(trials[:number]))
            took.append(time.process_time() - start)
        return statistics.median(took)

    assert median(10_000) < 3 * median(400)
