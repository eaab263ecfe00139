"""Numbers: inside their bounds, on their steps, without dust, and to and from the unit interval."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_spaces import leaves

from autoprune.search_space import Leaf, Normal, RandInt, Uniform, space_from_plain

units = st.floats(0, 1)


def leaf(plain: Any) -> Leaf:
    dimension = space_from_plain({"x": plain}).members["x"]
    assert isinstance(dimension, RandInt | Uniform | Normal)
    return dimension


@given(leaves, units)
def test_values_are_in_bounds_and_on_steps(plain: Any, u: float) -> None:
    dimension = leaf(plain)
    value = dimension.from_unit(u)
    assert dimension.contains(value)
    assert dimension.low <= value <= dimension.high
    if dimension.q is not None and dimension.low < value < dimension.high:
        q = Decimal(repr(dimension.q))
        assert value == float(q * round(Decimal(repr(value)) / q))


@given(leaves, units, units)
def test_the_unit_interval_is_ordered(plain: Any, a: float, b: float) -> None:
    dimension = leaf(plain)
    low, high = sorted((a, b))
    assert dimension.from_unit(low) <= dimension.from_unit(high)


@given(leaves, units)
def test_the_unit_interval_and_back(plain: Any, u: float) -> None:
    dimension = leaf(plain)
    value = dimension.from_unit(u)
    unit = dimension.to_unit(value)
    assert 0 <= unit <= 1
    if isinstance(dimension, Normal):
        if 1e-6 < unit < 1 - 1e-6:
            assert dimension.from_unit(unit) == pytest.approx(value, rel=1e-6, abs=1e-6)
    else:
        assert dimension.from_unit(unit) == pytest.approx(value, rel=1e-9, abs=1e-9)


@given(leaves)
def test_counted_values_are_all_there_once(plain: Any) -> None:
    dimension = leaf(plain)
    if isinstance(dimension, Normal) or dimension.count is None:
        return
    values = [dimension.at(index) for index in range(min(dimension.count, 200))]
    assert all(map(dimension.contains, values))
    assert all(a < b for a, b in pairwise(values))
    if dimension.count <= 200:
        assert dimension.from_unit(0.37) in values


@pytest.mark.parametrize(
    ("q", "bounds", "expected"),
    [
        (0.1, (0, 0.5), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (0.05, (0.1, 0.3), [0.1, 0.15, 0.2, 0.25, 0.3]),
        (2, (1, 7), [1.0, 2.0, 4.0, 6.0, 7.0]),
        (1e-7, (1e-7, 3e-7), [1e-7, 2e-7, 3e-7]),
    ],
)
def test_steps_carry_no_dust(q: float, bounds: tuple[float, float], expected: list[float]) -> None:
    """NNI's rule: multiples of q, clipped to the bounds."""
    dimension = Uniform(*bounds, q=q)
    assert [dimension.at(index) for index in range(dimension.count or 0)] == expected
    assert {dimension.from_unit(u / 1000) for u in range(1001)} == set(expected)


@pytest.mark.parametrize("value", [6.71090742864844e17, 3.3e15, 1e300, 1.7e308])
@pytest.mark.parametrize("q", [1.001, 0.3, 7.0])
def test_more_steps_than_a_float_can_count(q: float, value: float) -> None:
    dimension = Normal(0, 5, log=True, q=q)
    snapped = dimension.round(value)
    assert dimension.contains(snapped)
    assert snapped == pytest.approx(value, rel=1e-15)


def test_randint_leaves_out_its_upper_bound() -> None:
    dimension = RandInt(2, 5)
    assert [dimension.from_unit(u) for u in (0, 0.3, 0.4, 0.7, 1)] == [2, 2, 3, 4, 4]
    assert not dimension.contains(5)
    assert not dimension.contains(2.0)
    assert not dimension.contains(True)


def test_the_types_have_their_names() -> None:
    assert RandInt(0, 1).kind == "randint"
    assert [Uniform(1, 2, log, q).kind for log in (False, True) for q in (None, 1)] == [
        "uniform",
        "quniform",
        "loguniform",
        "qloguniform",
    ]
    assert [Normal(1, 2, log, q).kind for log in (False, True) for q in (None, 1)] == [
        "normal",
        "qnormal",
        "lognormal",
        "qlognormal",
    ]


def test_a_geometric_mean_is_the_middle_of_a_log_range() -> None:
    assert Uniform(1e-4, 1, log=True).from_unit(0.5) == 0.01


@pytest.mark.parametrize("dimension", [Normal(0, 1000, log=True), Normal(0, 1e300), Normal(5, 1, q=1e-300)])
def test_extreme_distributions_stay_finite(dimension: Normal) -> None:
    assert all(dimension.contains(dimension.from_unit(u)) for u in (0, 1e-300, 0.5, 1))
