"""The trust region: where points lie, how far it looks, and what it takes for the best."""

from __future__ import annotations

import math
import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_spaces import spaces

from autoprune.search_space import Choice, Uniform, sample, space_from_plain
from autoprune.tuners import _trust_region as tr
from autoprune.tuners._coordinates import Coordinates
from autoprune.tuners._flat import FlatView
from autoprune.tuners._trust_region import TrustRegion, capped

LAYERS = [f"conv{i}_sparsity" for i in range(4)]
LEAF = Uniform(0.0, 0.999)
SPACE = FlatView(space_from_plain({name: {"_type": "uniform", "_value": [0, 0.999]} for name in LAYERS})).space
SCALED = Coordinates(SPACE, dict.fromkeys(LAYERS, LEAF))
densities = st.lists(st.floats(0.01, 1), min_size=4, max_size=4)


def point_of(values: list[float]) -> dict[str, float]:
    return {name: LEAF.to_unit(1 - value) for name, value in zip(LAYERS, values, strict=True)}


def densities_of(point: dict[str, Any]) -> np.ndarray:
    return np.array([1 - LEAF.from_unit(point[name]) for name in LAYERS])


@given(spaces, st.integers(0, 100))
def test_a_point_comes_back_from_its_place(plain: Any, seed: int) -> None:
    space = FlatView(space_from_plain(plain)).space
    coordinates = Coordinates(space, {})
    point = sample(space, random.Random(seed))
    found = coordinates.point(coordinates.place(point))
    for name, dimension in space.members.items():
        if isinstance(dimension, Choice):
            assert found[name] == point[name]
        else:
            assert dimension.to_unit(found[name]) == pytest.approx(dimension.to_unit(point[name]), abs=1e-9)


@given(spaces, st.integers(0, 100))
def test_steps_stay_in_the_space_and_reach_its_bounds(plain: Any, seed: int) -> None:
    space = FlatView(space_from_plain(plain)).space
    coordinates = Coordinates(space, {})
    place = coordinates.place(sample(space, random.Random(seed)))
    for step, end in ((-100.0, 0.0), (0.3, None), (100.0, 1.0)):
        moved = coordinates.moved(place[None], np.full((1, len(place)), step))
        point = coordinates.point(moved[0])
        for name, dimension in space.members.items():
            if isinstance(dimension, Choice):
                assert point[name] in range(len(dimension.options))
            else:
                assert dimension.contains(point[name])
                assert end is None or point[name] == dimension.from_unit(end)


@given(densities, st.floats(0.1, 1))
def test_a_point_and_its_multiple_are_one(values: list[float], factor: float) -> None:
    """Their places are, where all densities are multiplied by the same."""
    other = [factor * value for value in values]
    assert SCALED.place(point_of(other)) == pytest.approx(SCALED.place(point_of(values)), abs=1e-6)


@given(densities)
def test_the_place_keeps_the_proportions(values: list[float]) -> None:
    found = densities_of(SCALED.point(SCALED.place(point_of(values))))
    assert found == pytest.approx(np.array(values) / max(values), rel=1e-6, abs=1e-6)
    assert found.max() == pytest.approx(1)


def test_what_is_counted_takes_whole_steps_and_another_option_is_another() -> None:
    space = FlatView(
        space_from_plain(
            {"n": {"_type": "randint", "_value": [0, 4]}, "c": {"_type": "choice", "_value": ["a", "b", "c"]}}
        )
    ).space
    coordinates = Coordinates(space, {})
    generator = np.random.default_rng(0)
    places = np.repeat(coordinates.place({"n": 1, "c": 0})[None], 400, axis=0)
    moved = coordinates.switched(coordinates.moved(places, generator.standard_normal(places.shape)), 0.5, generator)
    points = [coordinates.point(place) for place in moved]
    assert {point["n"] for point in points} == {0, 1, 2, 3}
    assert sum(point["c"] > 0 for point in points) == pytest.approx(200, abs=50)
    assert {point["c"] for point in points} == {0, 1, 2}


def region(*losses: float) -> TrustRegion:
    """A region that was told so many results of one line, none of them its own."""
    found = TrustRegion(SPACE, dict.fromkeys(LAYERS, LEAF))
    for i, loss in enumerate(losses):
        found.learn(point_of([1, 0.1 + 0.05 * i, 0.5, 0.5]), loss, proposed=False)
    return found


def test_it_widens_after_success_and_narrows_after_failure() -> None:
    """In steps that cancel where one trial in five succeeds."""
    found = region(3, 4, 5, 6, 7)
    start, elsewhere = found.radius, point_of([1, 0.9, 0.9, 0.9])
    found.learn(elsewhere, 4.9, proposed=True)
    assert found.radius > start
    for _ in range(4):
        found.learn(elsewhere, 100, proposed=True)
    assert found.radius == pytest.approx(start)
    found.learn(elsewhere, 0.0, proposed=False)
    assert found.radius == pytest.approx(start)
    for _ in range(1000):
        found.learn(elsewhere, 100, proposed=True)
    assert found.radius == tr.NARROWEST
    for loss in range(0, -1000, -1):
        found.learn(elsewhere, loss, proposed=True)
    assert found.radius == tr.WIDEST


def test_results_of_one_place_are_averaged() -> None:
    """So what was found six times counts as one place of their mean."""
    one, other = region(3, 4, 5, 6), region(3, 4, 5, 6)
    for loss in (0.0, 2.0, 4.0):
        one.learn(point_of([1, 0.3, 0.2, 0.2]), loss, proposed=False)
        other.learn(point_of([0.5, 0.15, 0.1, 0.1]), 2.0, proposed=False)
    assert len(one) == len(other) == 5
    first, second = (next(found.proposals([], 1)) for found in (one, other))
    assert densities_of(first) == pytest.approx(densities_of(second), rel=1e-6)


def told(noise: float, seed: int) -> TrustRegion:
    """Results around a best place."""
    generator = np.random.default_rng(seed)
    found = TrustRegion(SPACE, dict.fromkeys(LAYERS, LEAF))
    for _ in range(40):
        logs = np.concatenate([[0.0], generator.normal(-1, 0.5, 3)])
        loss = float(((logs[1:] + 1) ** 2).sum())
        found.learn(
            point_of(list(np.exp(np.minimum(logs, 0)))), loss + noise * generator.standard_normal(), proposed=False
        )
    return found


def test_it_looks_near_the_best_even_where_another_was_lucky() -> None:
    """A single result that is the lowest of all, among bad ones, is not where it goes."""
    target = np.exp([0, -1, -1, -1])
    for seed in range(5):
        found = told(0.1, seed)
        for _ in range(6):
            found.learn(point_of([1, 0.02, 0.02, 0.02]), 20.0, proposed=False)
        found.learn(point_of([1, 0.021, 0.02, 0.02]), -0.3, proposed=False)
        nearest = densities_of(next(found.proposals([], seed)))
        assert np.abs(np.log(nearest / target)).max() < 1.5


def test_candidates_are_as_far_as_the_radius_says() -> None:
    def spread(radius: float) -> float:
        found = told(0.0, 0)
        found.radius = radius
        logs = [np.log(densities_of(point)) for point in islice(found.proposals([], 0), tr.CANDIDATES)]
        return float(np.median(np.std(logs, axis=0)))

    assert spread(0.02) < spread(0.5) < spread(2.0)


def test_trials_side_by_side_spread() -> None:
    found = told(0.05, 1)
    waiting: list[dict[str, Any]] = []
    for seed in range(4):
        waiting.append(next(found.proposals(waiting, seed)))
    logs = [np.log(densities_of(point)) for point in waiting]
    gaps = [np.abs(one - other).max() for i, one in enumerate(logs) for other in logs[:i]]
    assert min(gaps) > 1e-3


def test_what_is_far_worse_is_brought_near() -> None:
    assert capped(np.array([0.0, 1.0, 2.0, 1e30])).tolist() == [0.0, 1.0, 2.0, 4.5]
    assert capped(np.array([3.0, 3.0, 5.0])).tolist() == [3.0, 3.0, 5.0]
    assert math.isfinite(capped(np.array([-1e100, 1e100])).sum())
