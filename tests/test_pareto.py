"""Non-dominated sorting and crowding, against their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.pareto import best, crowding, fronts


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


results = st.integers(1, 3).flatmap(
    lambda count: st.lists(st.tuples(*[st.integers(0, 6).map(float)] * count), max_size=25)
)


@given(results)
def test_a_front_holds_what_only_earlier_fronts_dominate(losses: list[tuple[float, ...]]) -> None:
    left = set(range(len(losses)))
    for front in fronts(losses, len(losses)):
        assert front == sorted(i for i in left if not any(dominates(losses[j], losses[i]) for j in left))
        left -= set(front)
    assert not left


@given(results, st.integers(0, 25))
def test_no_more_fronts_than_are_needed(losses: list[tuple[float, ...]], enough: int) -> None:
    found = fronts(losses, enough)
    assert found == fronts(losses, len(losses))[: len(found)]
    placed = sum(map(len, found))
    assert placed >= min(enough, len(losses))
    assert not found or placed - len(found[-1]) < enough


def test_crowding_is_the_sum_of_the_gaps_between_neighbours() -> None:
    """Deb et al. (2002), section III-B: with each number's gap divided by its range."""
    front = [(0.0, 10.0), (1.0, 6.0), (3.0, 5.0), (4.0, 0.0)]
    assert crowding(front) == [math.inf, 3 / 4 + 5 / 10, 3 / 4 + 6 / 10, math.inf]


def test_equal_results_have_no_room() -> None:
    assert crowding([(1.0, 2.0)] * 3) == [math.inf, 0.0, math.inf]


def test_the_last_front_is_thinned_where_it_is_dense() -> None:
    losses = [(0.0, 10.0), (5.0, 5.1), (5.1, 5.0), (9.0, 1.0), (10.0, 0.0), (10.0, 10.0)]
    assert set(best(losses, 4)) == {0, 1, 3, 4}
    assert best(losses, 6)[-1] == 5


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_with_one_number_the_smallest_are_the_best(count: int) -> None:
    losses = [(float((7 * i) % 9),) for i in range(9)]
    assert best(losses, count) == sorted(range(9), key=losses.__getitem__)[:count]


def test_extreme_numbers() -> None:
    losses = [(-1e308, 1e308), (0.0, 0.0), (1e308, -1e308)]
    assert crowding(losses) == [math.inf, 2.0, math.inf]
    assert best([], 3) == []
