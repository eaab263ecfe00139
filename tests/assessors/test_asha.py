"""Asha keeps the best 1 in eta of each rung, as published."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoprune.assessors import Assessor, Curve, assessors


def asha(**arguments: object) -> Assessor:
    plugin = assessors.get("Asha")
    return plugin(plugin.Args.model_validate(arguments))


def stops(assessor: Assessor, values: Sequence[float], *others: Sequence[float]) -> bool:
    return assessor.judge(Curve(99, values), [Curve(number, other) for number, other in enumerate(others)]).stop


@pytest.mark.parametrize(
    ("eta", "trials", "left"), [(3, 27, [9, 3, 1]), (4, 64, [16, 4, 1]), (2, 11, [5, 2, 1, 1]), (3, 2, [1, 1])]
)
def test_side_by_side_it_is_successive_halving(eta: int, trials: int, left: list[int]) -> None:
    """With every trial at a rung before any is judged, floor(n / eta) of n go on, the best, and at least one."""
    assessor = asha(reduction_factor=eta, min_resource=2)
    going = [number / trials for number in range(trials)]
    ended: list[Curve] = []
    for rung, count in enumerate(left):
        steps = 2 * eta**rung
        at_rung = [Curve(number, [value] * steps) for number, value in enumerate(going)]
        on = [one for one in at_rung if not assessor.judge(one, [*(o for o in at_rung if o is not one), *ended]).stop]
        ended += [one for one in at_rung if one not in on]
        assert [one.values[0] for one in on] == going[-count:]
        going = going[-count:]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40, unique=True), st.integers(2, 5))
def test_one_by_one_a_trial_must_be_among_the_best_so_far(values: list[float], eta: int) -> None:
    assessor = asha(reduction_factor=eta)
    for count, value in enumerate(values, start=1):
        among = sorted(values[:count], reverse=True)[: max(1, count // eta)]
        assert stops(assessor, [value], *([other] for other in values[: count - 1])) == (value not in among)


@pytest.mark.parametrize(
    ("arguments", "judged"),
    [
        ({}, [1, 4, 16]),
        ({"min_resource": 3, "reduction_factor": 2}, [3, 6, 12]),
        ({"max_resource": 16}, [1, 4]),
        ({"max_resource": 17}, [1, 4, 16]),
    ],
)
def test_rungs(arguments: dict[str, int], judged: list[int]) -> None:
    """A trial that is worse at one step only is stopped if that step is a rung."""
    others = [[1.0] * 20] * 9
    for step in range(1, 20):
        values = [1.0] * (step - 1) + [0.0]
        assert stops(asha(**arguments), values, *others) == (step in judged)


def test_trials_that_have_not_come_as_far_do_not_count() -> None:
    assert not stops(asha(), [1.0, 1.0, 1.0, 0.1], *[[0.9] * 3] * 9)


def test_a_rung_that_was_passed_by_counts() -> None:
    """Results may come several at a time; one that has caught up meanwhile goes on."""
    others = [[0.5] * 4] * 9
    assert stops(asha(), [0.1, 0.2, 0.3], *others)
    assert not stops(asha(), [0.1, 0.2, 0.5], *others)


def test_the_reason_tells_the_figures() -> None:
    others = [Curve(number, [number / 10] * 4) for number in range(8)]
    verdict = asha().judge(Curve(9, [0.7, 0.7, 0.7, 0.55]), others)
    expected = "best result 0.55 from step 4 on is below 0.6, which the best 2 of 9 trials had reached at it"
    assert verdict.reason == expected
    verdict = asha(optimize_mode="minimize").judge(Curve(9, [0.15]), others)
    assert (
        verdict.reason == "best result 0.15 from step 1 on is above 0.1, which the best 2 of 9 trials had reached at it"
    )


def test_a_whole_trial_is_longer_than_the_first_rung() -> None:
    with pytest.raises(ValidationError, match="a max_resource above min_resource, which is 9"):
        asha(min_resource=9, max_resource=9)
