"""Selection against a stable sort, for any dtype and any number of ties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoprune.compression.core.formulas import agp_sparsity, pruned_count
from autoprune.compression.core.selection import Values, smallest, smallest_by_tier

values = st.one_of(
    st.lists(st.integers(0, 3).map(float), min_size=1, max_size=60),
    st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=60),
)


def by_sorting(given: np.ndarray, k: int) -> np.ndarray:
    mask = np.zeros(given.size, dtype=bool)
    mask[np.argsort(given, kind="stable")[:k]] = True
    return mask


@given(values, st.sampled_from([np.float32, np.float64]), st.data())
def test_exactly_the_k_smallest_with_ties_by_index(
    listed: list[float], dtype: type[np.float32] | type[np.float64], data: st.DataObject
) -> None:
    array: Values = np.array(listed, dtype=dtype)
    k = data.draw(st.integers(0, array.size))
    assert np.array_equal(smallest(array, k), by_sorting(array, k))


@given(values, st.data())
def test_tiers_are_taken_whole_before_the_next_is_cut(listed: list[float], data: st.DataObject) -> None:
    array = np.array(listed, dtype=np.float32)
    tier = np.array(data.draw(st.lists(st.integers(0, 2), min_size=array.size, max_size=array.size)))
    k = data.draw(st.integers(0, array.size))
    chosen = smallest_by_tier([(tier == number, lambda: array) for number in range(3)], k)
    expected = np.zeros(array.size, dtype=bool)
    expected[np.lexsort((np.arange(array.size), array, tier))[:k]] = True
    assert np.array_equal(chosen, expected)


def test_the_count_forgives_the_float() -> None:
    assert 100 * 0.29 < 29
    assert pruned_count(100, 0.29) == 29
    assert pruned_count(7, 0.5) == 3
    assert pruned_count(0, 0.5) == 0


def test_agp_by_hand() -> None:
    for epoch, expected in {0: 0.0, 1: 0.2168, 2: 0.3904, 5: 0.7, 10: 0.8, 99: 0.8}.items():
        assert abs(agp_sparsity(epoch, 0.0, 0.8, 0, 10, 1) - expected) < 1e-12


def test_agp_off_frequency_before_the_start_and_without_a_span() -> None:
    assert agp_sparsity(3, 0.0, 0.8, 0, 10, 2) == agp_sparsity(2, 0.0, 0.8, 0, 10, 2)
    assert agp_sparsity(9, 0.0, 0.8, 0, 10, 4) == agp_sparsity(8, 0.0, 0.8, 0, 10, 4)
    assert agp_sparsity(10, 0.0, 0.8, 0, 10, 4) == 0.8
    assert agp_sparsity(2, 0.1, 0.8, 3, 9, 1) == 0.1
    assert agp_sparsity(3, 0.1, 0.8, 3, 3, 1) == 0.8
    assert agp_sparsity(2, 0.1, 0.8, 3, 3, 1) == 0.1


@given(st.floats(0, 0.5), st.floats(0.5, 0.99), st.integers(0, 5), st.integers(0, 15), st.integers(1, 6))
def test_agp_rises_from_the_initial_to_the_final_sparsity(
    initial: float, final: float, start: int, span: int, frequency: int
) -> None:
    path = [agp_sparsity(epoch, initial, final, start, start + span, frequency) for epoch in range(start + span + 3)]
    assert all(before <= after + 1e-12 for before, after in pairwise(path))
    assert all(initial - 1e-12 <= value <= final + 1e-12 for value in path)
    assert path[start + span :] == [final] * 3
