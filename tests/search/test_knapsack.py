"""A budget divided by curves: as cheap as any other division that keeps no more."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.search.knapsack import LEAST_DENSITY, Item, Points, cheapest

HARD: Points = [(0.5, 2.0), (0.8, 10.0), (0.9, 40.0)]
EASY: Points = [(0.5, 0.0), (0.8, 0.1), (0.9, 0.5)]


def lost(item: Item, sparsity: float) -> float:
    """By hand: in proportion to the logarithm of the density, between two points and beyond the last."""
    known = [(0.0, 0.0), *((at, value) for at, value in item.points if value is not None)]
    for (low, before), (high, after) in itertools.pairwise(known):
        if low <= sparsity <= high:
            share = (np.log1p(-sparsity) - np.log1p(-low)) / (np.log1p(-high) - np.log1p(-low))
            return float(before + share * (after - before))
    last, value = known[-1]
    return float(value * np.log1p(-sparsity) / np.log1p(-last))


def test_what_can_lose_more_is_sparser() -> None:
    found = cheapest({"hard": Item(100, HARD), "easy": Item(100, EASY)}, 0.1)
    assert found["easy"] > found["hard"]


def test_it_is_the_best_division_of_what_it_keeps() -> None:
    items = {"hard": Item(300, HARD), "easy": Item(100, EASY), "even": Item(200, [(0.5, 1.0), (0.9, 9.0)])}
    found = cheapest(items, 0.3)
    assert min(found.values()) > 0
    total = sum(lost(items[name], sparsity) for name, sparsity in found.items())
    kept = sum(item.price * (1 - found[name]) for name, item in items.items())
    for others in itertools.product(1 - np.geomspace(1, LEAST_DENSITY, 25), repeat=3):
        if sum(item.price * (1 - one) for item, one in zip(items.values(), others, strict=True)) <= kept:
            assert sum(lost(item, one) for item, one in zip(items.values(), others, strict=True)) >= total - 1e-6


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_price_keeps_no_more(one: float, other: float) -> None:
    items = {"hard": Item(100, HARD), "easy": Item(50, EASY)}
    low, high = (cheapest(items, share) for share in sorted((one, other)))
    assert all(low[name] <= high[name] for name in items)
    assert all(0 <= sparsity <= 1 - LEAST_DENSITY + 1e-9 for sparsity in high.values())


def test_noise_pays_nobody_and_what_has_no_value_is_passed_over() -> None:
    noisy = Item(1, [(0.5, -1.0), (0.8, 3.0), (0.9, None), (0.95, 2.0)])
    assert np.array_equal(noisy.losses, np.maximum.accumulate(noisy.losses))
    assert noisy.losses.min() == 0
    assert np.array_equal(noisy.losses, Item(1, [(0.5, 0.0), (0.8, 3.0), (0.95, 3.0)]).losses)


def test_beyond_the_last_point_it_goes_on_as_before() -> None:
    losses = Item(1, [(0.9, 10.0)]).losses
    assert losses[-1] == pytest.approx(10 * np.log(LEAST_DENSITY) / np.log(0.1))


def test_without_points_nothing_is_lost() -> None:
    assert not Item(1, []).losses.any()
