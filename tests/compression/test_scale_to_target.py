"""The scaled sparsities add up exactly, keep the order of the densities, and empty no layer."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoprune.compression.core.scaling import scale_to_target
from autoprune.errors import UsageError

size = st.one_of(st.integers(1, 12), st.integers(1, 5000), st.integers(10**6, 3 * 10**8))
raw = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
problems = st.lists(st.tuples(raw, size), min_size=1, max_size=12).map(
    lambda layers: (
        {f"layer{index}": value for index, (value, _) in enumerate(layers)},
        {f"layer{index}": count for index, (_, count) in enumerate(layers)},
    )
)


def pruned(size: int, sparsity: float) -> int:
    return math.floor(size * sparsity + 1e-9)


def total_pruned(sparsities: dict[str, float], sizes: dict[str, int]) -> int:
    return sum(pruned(sizes[name], value) for name, value in sparsities.items())


@given(problems, st.floats(0, 0.9999))
def test_the_total_is_exact_and_no_layer_is_emptied(
    problem: tuple[dict[str, float], dict[str, int]], target: float
) -> None:
    sparsities, sizes = problem
    total = sum(sizes.values())
    wanted = math.floor(total * target + 1e-9)
    assume(wanted <= total - len(sizes))
    scaled = scale_to_target(sparsities, sizes, target)
    assert list(scaled) == list(sparsities)
    assert total_pruned(scaled, sizes) == wanted
    assert all(0 <= value < 1 for value in scaled.values())
    assert all(pruned(sizes[name], value) < sizes[name] for name, value in scaled.items())


@given(problems, st.floats(0, 0.9999))
def test_a_layer_proposed_denser_comes_out_denser(
    problem: tuple[dict[str, float], dict[str, int]], target: float
) -> None:
    sparsities, sizes = problem
    total = sum(sizes.values())
    assume(math.floor(total * target + 1e-9) <= total - len(sizes))
    scaled = scale_to_target(sparsities, sizes, target)
    for one in scaled:
        for other in scaled:
            if sparsities[one] < sparsities[other]:
                slack = 1 / sizes[one] + 1 / sizes[other]
                assert scaled[one] <= scaled[other] + slack + 1e-9


@given(problems, st.floats(0.01, 0.99))
def test_scaling_what_is_at_the_target_changes_nothing(
    problem: tuple[dict[str, float], dict[str, int]], target: float
) -> None:
    sparsities, sizes = problem
    total = sum(sizes.values())
    assume(math.floor(total * target + 1e-9) <= total - len(sizes))
    once = scale_to_target(sparsities, sizes, target)
    twice = scale_to_target(once, sizes, target)
    for name in once:
        assert abs(pruned(sizes[name], twice[name]) - pruned(sizes[name], once[name])) <= 1


def test_by_hand() -> None:
    """1100 of 5500 stay: .9 and .1 times lambda 1.2 fill the first layer, and 600 are left for the second."""
    assert scale_to_target({"a": 0.1, "b": 0.9}, {"a": 500, "b": 5000}, 0.8) == {"a": 0.0, "b": 0.88}
    assert scale_to_target({"a": 0.8, "b": 0.6}, {"a": 100, "b": 100}, 0.85) == {"a": 0.9, "b": 0.8}


def test_the_remainder_goes_to_the_largest_fraction() -> None:
    """Ten stay of 3 x 7 at equal densities: 3.33 each, so the first of the three gets the odd one."""
    scaled = scale_to_target({"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 7, "b": 7, "c": 7}, 11 / 21)
    assert scaled == {"a": 3 / 7, "b": 4 / 7, "c": 4 / 7}


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_proposals_are_uniform(value: float) -> None:
    scaled = scale_to_target({"a": value, "b": value}, {"a": 100, "b": 1000}, 0.7)
    assert scaled == {"a": 0.7, "b": 0.7}


def test_a_sparsity_of_one_waits_until_the_others_are_dense() -> None:
    sizes = {"a": 100, "b": 100}
    assert scale_to_target({"a": 1.0, "b": 0.5}, sizes, 0.6) == {"a": 0.99, "b": 0.21}
    assert scale_to_target({"a": 1.0, "b": 0.5}, sizes, 0.2) == {"a": 0.4, "b": 0.0}


def test_a_layer_of_one_element_and_a_target_of_zero() -> None:
    assert scale_to_target({"a": 0.9, "b": 0.2}, {"a": 1, "b": 3}, 0.5) == {"a": 0.0, "b": 2 / 3}
    assert scale_to_target({"a": 0.9}, {"a": 10}, 0) == {"a": 0.0}


@pytest.mark.parametrize(
    ("sparsities", "sizes", "target", "said"),
    [
        ({"a": 0.5}, {"a": 10}, 1.0, "from 0 to 0.9"),
        ({"a": 0.5}, {"a": 10}, -0.1, "from 0 to 0.9"),
        ({"a": 0.5}, {"a": 10}, float("nan"), "from 0 to 0.9"),
        ({"conv0": 0.5}, {"conv": 10}, 0.5, "did you mean conv?"),
        ({"a": 0.5}, {"a": 10, "fc": 3}, 0.5, "'fc'"),
        ({"a": 1.5}, {"a": 10}, 0.5, "1.5"),
        ({"a": "0.5"}, {"a": 10}, 0.5, "'0.5'"),
        ({"a": 0.5}, {"a": 10.5}, 0.5, "10.5"),
        ({}, {}, 0.5, "no sparsities"),
    ],
)
def test_what_cannot_be_is_an_error(
    sparsities: dict[str, float], sizes: dict[str, int], target: float, said: str
) -> None:
    with pytest.raises(UsageError, match="scale_to_target") as caught:
        scale_to_target(sparsities, sizes, target)
    assert said in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_it_needs_no_framework() -> None:
    code = (
        "import sys; import autoprune.compression.core.scaling; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pydantic', 'optuna')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
