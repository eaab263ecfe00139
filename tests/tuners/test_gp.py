"""GP beside the contract: a bounded history, and running trials that push others away."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import sample, space_from_plain
from autoprune.tuners import gp

from .simulated_search import maker

SPACE = space_from_plain({name: {"_type": "uniform", "_value": [0, 1]} for name in "xy"})


def bowl(parameters: Any) -> float:
    return float((parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.6) ** 2)


def tried(count: int) -> list[Trial]:
    generator = random.Random(0)
    drawn = [sample(SPACE, generator) for _ in range(count)]
    return [Trial(n, TrialState.SUCCEEDED, p, bowl(p), finish_order=n) for n, p in enumerate(drawn)]


def ask(number: int, history: History, **class_args: Any) -> Any:
    proposal = maker("GP", **class_args)(SPACE, OptimizeMode.MINIMIZE, 1).ask(number, history)
    assert proposal is not None
    return proposal.parameters


def test_it_goes_where_the_results_are_best() -> None:
    assert bowl(ask(20, History(tried(20)))) < min(trial.value or 0.0 for trial in tried(20)) < bowl(ask(0, History()))


def test_a_new_process_gives_the_same_answer() -> None:
    tuner, finished = maker("GP")(SPACE, OptimizeMode.MINIMIZE, 1), tried(14)
    for number in range(10, 14):
        proposal = tuner.ask(number, History(finished[:number], finished[number:]))
        assert proposal is not None
        assert proposal.parameters == ask(number, History(finished[:number], finished[number:]))


def test_trials_asked_for_together_spread() -> None:
    finished = tried(20)
    running: list[Trial] = []
    for number in range(20, 24):
        running.append(Trial(number, TrialState.RUNNING, ask(number, History(finished, running))))
    gaps = [max(abs(a.parameters[key] - b.parameters[key]) for key in "xy") for a, b in combinations(running, 2)]
    assert min(gaps) > 1e-3


def test_only_the_best_and_the_newest_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is neither makes no difference, and one that is does."""
    monkeypatch.setattr(gp, "BEST", 5)
    monkeypatch.setattr(gp, "NEWEST", 10)
    finished = tried(40)
    ranked = sorted(finished[:30], key=lambda trial: trial.value or 0.0)
    answer = ask(40, History(finished))
    assert ask(40, History([trial for trial in finished if trial is not ranked[-1]])) == answer
    assert ask(40, History([trial for trial in finished if trial is not ranked[0]])) != answer


def test_torch_gets_its_threads_back() -> None:
    import torch

    threads = torch.get_num_threads()
    ask(20, History(tried(20)), deterministic_objective=True)
    assert torch.get_num_threads() == threads
