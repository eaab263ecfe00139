"""What every tuner keeps to. A new tuner is tried here without an edit: its file is enough."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_spaces import SPACES, spaces

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import Space, flatten, sample, space_from_plain
from autoprune.tuners import Tuner, check_space, tuners
from autoprune.tuners._custom import load_custom
from autoprune.tuners._flat import FlatTuner

from .simulated_search import (
    ALLOCATION,
    Make,
    allocation,
    any_objective,
    best,
    brief,
    flattening,
    layers,
    maker,
    proposals,
    search,
)

HERE = Path(__file__).parent
MAXIMIZE, MINIMIZE = OptimizeMode.MAXIMIZE, OptimizeMode.MINIMIZE
SMALL = 24


def custom(class_name: str, **class_args: Any) -> Make:
    def make(space: Space, mode: OptimizeMode, seed: int) -> Tuner:
        plain = next(plain for plain in SPACES.values() if space_from_plain(plain) == space)
        return load_custom(class_name, HERE, class_args, space, plain, mode, seed)

    return make


def searches_anything(name: str) -> bool:
    """Whether this tuner takes more than spaces of a form of its own."""
    plugin, space = tuners.get(name), space_from_plain(SPACES["seed"])
    return check_space(plugin, space, plugin.Args.model_validate({})) is None


NAMED = [name for name in tuners.names() if searches_anything(name)]
FLATTENED = {f"{name}, flattened": name for name in NAMED if flattening(name)}
PLUGINS: dict[str, Make] = {name: maker(name, **brief(name)) for name in NAMED} | {
    title: maker(name, **brief(name), flatten=True) for title, name in FLATTENED.items()
}
MAKERS: dict[str, Make] = PLUGINS | {
    "NNI-style class": custom("contract_tuners.NNIStyle", repeat=0.8),
    "bare NNI-style class": custom("contract_tuners.Bare"),
    "subclass": custom("contract_tuners.Own", offset=3),
    "NSGAIISampler": custom("optuna.samplers.NSGAIISampler", population_size=4),
    "QMCSampler": custom("optuna.samplers.QMCSampler", scramble=True),
}
LONG = ("GP",)
"""Tuners that take tenths of a second for an answer."""


def sparing(titles: Iterable[str]) -> list[Any]:
    """Parameters of tests, of which those that take long wait for `make test-slow`."""
    return [pytest.param(title, marks=pytest.mark.slow) if title in LONG else title for title in titles]


@pytest.fixture(params=sparing(MAKERS))
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


@pytest.mark.parametrize("title", sparing(PLUGINS))
@settings(max_examples=20, deadline=None)
@given(plain=spaces, seed=st.integers(0, 2**31))
def test_parameters_are_of_any_space(title: str, plain: Any, seed: int) -> None:
    space = space_from_plain(plain)
    for ask in search(PLUGINS[title](space, MAXIMIZE, seed), 18):
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
    seeded = one.inner.seeded if isinstance(one, FlatTuner) else one.seeded
    assert (proposals(search(one, SMALL)) != proposals(search(other, SMALL))) == seeded


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


@pytest.mark.parametrize("title", sparing(PLUGINS))
def test_a_named_tuner_does_not_touch_global_generators(title: str) -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    search(PLUGINS[title](space_from_plain(SPACES["seed"]), MAXIMIZE, 1), SMALL)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("title", sparing(t for t in PLUGINS if tuners.get(FLATTENED.get(t, t)).learns))
def test_learning_is_ahead_of_random(title: str) -> None:
    """By the median of the best losses of twelve searches, 60 trials each."""
    space = space_from_plain(ALLOCATION)

    def median(make: Make) -> float:
        searches = [
            search(make(space, MINIMIZE, seed), 60, allocation, concurrency=1, rough=False) for seed in range(12)
        ]
        return statistics.median(best(asked, allocation) for asked in searches)

    assert median(PLUGINS[title]) < median(maker("Random"))


@pytest.mark.parametrize("title", sparing(PLUGINS))
def test_a_choice_and_fifty_parameters(title: str) -> None:
    space = space_from_plain(layers(50))
    for ask in search(PLUGINS[title](space, MAXIMIZE, 1), SMALL):
        assert ask.proposal is not None
        assert len(flatten(space, ask.proposal.parameters)) == 51


@pytest.mark.slow
@pytest.mark.parametrize("title", PLUGINS)
def test_ten_thousand_trials(title: str) -> None:
    """Of which some are the tuner's own, with the state it gave them."""
    space, generator = space_from_plain(layers(50)), random.Random(0)
    tuner = PLUGINS[title](space, MAXIMIZE, 1)
    states = [ask.proposal and ask.proposal.state for ask in search(tuner, SMALL, rough=False)]
    finished = []
    for number in range(10_000):
        parameters = sample(space, generator)
        value = any_objective(parameters)
        own = states[number % 5] if number % 2 else None
        finished.append(Trial(number, TrialState.SUCCEEDED, parameters, value, {"default": value}, tuner_state=own))
    proposal = PLUGINS[title](space, MAXIMIZE, 1).ask(10_000, History(finished))
    assert proposal is not None
    flatten(space, proposal.parameters)


SEQUENCES = """
import json, sys
sys.path[:0] = {path!r}
from sample_spaces import SPACES
from simulated_search import brief, maker, proposals, search
from autoprune.records import OptimizeMode
from autoprune.search_space import space_from_plain
from autoprune.tuners import tuners

tuners.names()
light = [module for module in ("torch", "optuna", "hyperopt", "numpy", "scipy") if module in sys.modules]

def sequence(name, plain, mode):
    asked = search(maker(name, **brief(name))(space_from_plain(plain), mode, 1), 20)
    return [proposal.parameters if proposal else None for proposal in proposals(asked)]

found, before_torch = {{}}, []
for name in {names!r}:
    tried = [SPACES["seed"]] if name in {long!r} else SPACES.values()
    found[name] = [sequence(name, plain, mode) for plain in tried for mode in OptimizeMode]
    before_torch += [name] if "torch" not in sys.modules else []
print(json.dumps([found, light, before_torch]))
"""


def test_processes_agree_and_stay_light() -> None:
    """A sequence does not depend on the hash seed; naming the tuners imports no optimiser, and only GP needs torch."""
    names = sorted(NAMED, key=lambda name: name == "GP")
    code = SEQUENCES.format(path=[str(HERE), str(HERE.parent)], names=names, long=LONG)
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
    (one, light, before_torch), (other, _, _) = (json.loads(run.stdout) for run in runs)
    assert one == other
    assert light == []
    assert before_torch == names[:-1]


def test_any_objective_tells_parameters_apart() -> None:
    assert any_objective({"a": 1}) != any_objective({"a": 2})
