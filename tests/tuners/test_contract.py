"""What every tuner keeps to. A new tuner is tried here without an edit: its file is enough."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_spaces import SPACES, spaces

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import Space, flatten, space_from_plain
from autoprune.tuners import Tuner, tuners
from autoprune.tuners._custom import load_custom

from .simulated_search import ALLOCATION, Make, allocation, any_objective, best, maker, proposals, search

HERE = Path(__file__).parent
MAXIMIZE, MINIMIZE = OptimizeMode.MAXIMIZE, OptimizeMode.MINIMIZE
SMALL = 24


def custom(class_name: str, **class_args: Any) -> Make:
    def make(space: Space, mode: OptimizeMode, seed: int) -> Tuner:
        plain = next(plain for plain in SPACES.values() if space_from_plain(plain) == space)
        return load_custom(class_name, HERE, class_args, space, plain, mode, seed)

    return make


MAKERS: dict[str, Make] = {name: maker(name) for name in tuners.names()} | {
    "NNI-style class": custom("contract_tuners.NNIStyle", repeat=0.8),
    "bare NNI-style class": custom("contract_tuners.Bare"),
    "subclass": custom("contract_tuners.Own", offset=3),
    "NSGAIISampler": custom("optuna.samplers.NSGAIISampler", population_size=4),
    "QMCSampler": custom("optuna.samplers.QMCSampler", scramble=True),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> Space:
    return space_from_plain(SPACES[request.param])


def test_parameters_are_of_the_space_and_json(make: Make, space: Space) -> None:
    for ask in search(make(space, MAXIMIZE, 1), SMALL):
        if ask.proposal:
            assert json.loads(json.dumps(ask.proposal.parameters, allow_nan=False)) == ask.proposal.parameters
            assert json.loads(json.dumps(ask.proposal.state, allow_nan=False)) == ask.proposal.state
            flatten(space, ask.proposal.parameters)


@pytest.mark.parametrize("name", tuners.names())
@settings(max_examples=20, deadline=None)
@given(plain=spaces, seed=st.integers(0, 2**31))
def test_parameters_are_of_any_space(name: str, plain: Any, seed: int) -> None:
    space = space_from_plain(plain)
    for ask in search(maker(name)(space, MAXIMIZE, seed), 18):
        if ask.proposal:
            flatten(space, ask.proposal.parameters)


def test_the_same_seed_and_history_give_the_same_sequence(make: Make, space: Space) -> None:
    one, other = (search(make(space, MAXIMIZE, 1), SMALL) for _ in range(2))
    assert proposals(one) == proposals(other)


def test_a_rebuild_at_any_point_gives_the_same_answer(make: Make, space: Space) -> None:
    for ask in search(make(space, MAXIMIZE, 1), SMALL):
        assert make(space, MAXIMIZE, 1).ask(ask.number, ask.history) == ask.proposal


def test_asking_again_gives_the_same_answer(make: Make) -> None:
    space = space_from_plain(SPACES["seed"])
    tuner = make(space, MAXIMIZE, 1)
    asked = search(tuner, SMALL)
    assert tuner.ask(asked[-1].number, asked[-1].history) == asked[-1].proposal


def test_seeds_make_a_difference(make: Make) -> None:
    space = space_from_plain(SPACES["every type"])
    one, other = make(space, MAXIMIZE, 1), make(space, MAXIMIZE, 2)
    assert (proposals(search(one, SMALL)) != proposals(search(other, SMALL))) == one.seeded


def test_maximizing_mirrors_minimizing(make: Make, space: Space) -> None:
    one = search(make(space, MINIMIZE, 1), SMALL)
    other = search(make(space, MAXIMIZE, 1), SMALL, mirrored=True)
    assert proposals(one) == proposals(other)


def test_it_goes_on_when_nothing_succeeds(make: Make, space: Space) -> None:
    tuner = make(space, MAXIMIZE, 1)
    finished: list[Trial] = []
    for number in range(SMALL):
        proposal = tuner.ask(number, History(tuple(finished)))
        if proposal is None:
            break
        flatten(space, proposal.parameters)
        state = [TrialState.FAILED, TrialState.EARLY_STOPPED, TrialState.USER_CANCELED][number % 3]
        trial = Trial(number, state, proposal.parameters, None, {}, tuner_state=proposal.state)
        finished.append(trial)


def test_trials_of_another_space_do_no_harm(make: Make) -> None:
    """Enqueued or imported parameters may be anything."""
    space = space_from_plain(SPACES["seed"])
    strange = [{"x": 1}, {"prune_method": "agp"}, {"prune_method": {"_name": "agp", "conv0_sparsity": 7}}]
    finished = tuple(Trial(n, TrialState.SUCCEEDED, p, 0.5, {"default": 0.5}) for n, p in enumerate(strange * 5))
    running = (Trial(15, TrialState.RUNNING, {}),)
    assert make(space, MAXIMIZE, 1).ask(16, History(finished, running)) is not None


def test_equal_and_extreme_values_do_no_harm(make: Make, space: Space) -> None:
    for value in (0.0, 1e300, -1e300):
        asked = search(make(space, MAXIMIZE, 1), SMALL, lambda _, value=value: value)  # type: ignore[misc]
        assert asked[-1].proposal is None or len(asked) >= SMALL - 1


def test_it_leaves_global_generators_to_others(make: Make) -> None:
    """Whatever the global generators are at, the answer is the same."""
    space = space_from_plain(SPACES["seed"])
    sequences = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        sequences.append(proposals(search(make(space, MAXIMIZE, 1), SMALL)))
    assert sequences[0] == sequences[1]


@pytest.mark.parametrize("name", tuners.names())
def test_a_named_tuner_does_not_touch_global_generators(name: str) -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    search(maker(name)(space_from_plain(SPACES["seed"]), MAXIMIZE, 1), SMALL)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in tuners.names() if tuners.get(name).seeded and name != "Random"])
def test_learning_is_ahead_of_random(name: str) -> None:
    """By the median of the best losses of twelve searches, 60 trials each."""
    space = space_from_plain(ALLOCATION)

    def median(make: Make) -> float:
        searches = [
            search(make(space, MINIMIZE, seed), 60, allocation, concurrency=1, rough=False) for seed in range(12)
        ]
        return statistics.median(best(asked, allocation) for asked in searches)

    assert median(maker(name)) < median(maker("Random"))


SEQUENCES = """
import json, sys
sys.path[:0] = {path!r}
from sample_spaces import SPACES
from simulated_search import maker, proposals, search
from autoprune.records import OptimizeMode
from autoprune.search_space import space_from_plain
from autoprune.tuners import tuners

names = tuners.names()
light = [module for module in ("torch", "optuna", "hyperopt", "numpy", "scipy") if module in sys.modules]
found = {{
    name: [[p.parameters if p else None for p in proposals(search(maker(name)(space_from_plain(plain), mode, 1), 20))]
           for plain in SPACES.values() for mode in OptimizeMode]
    for name in names
}}
print(json.dumps([found, light, "torch" in sys.modules]))
"""


def test_processes_agree_and_stay_light() -> None:
    """A sequence does not depend on the hash seed; naming the tuners imports no optimiser, and asking no torch."""
    code = SEQUENCES.format(path=[str(HERE), str(HERE.parent)])
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert all(run.stderr == "" for run in runs)
    (one, light, torch), (other, _, _) = (json.loads(run.stdout) for run in runs)
    assert one == other
    assert light == []
    assert not torch


def test_any_objective_tells_parameters_apart() -> None:
    assert any_objective({"a": 1}) != any_objective({"a": 2})
