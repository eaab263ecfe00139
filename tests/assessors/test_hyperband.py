"""Hyperband deals trials out to brackets as published, and each bracket is an Asha of its own."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoprune.assessors import Curve, assessors
from autoprune.assessors.hyperband import Hyperband


def hyperband(**arguments: object) -> Hyperband:
    plugin = assessors.get("Hyperband")
    assessor = plugin(plugin.Args.model_validate(arguments))
    assert isinstance(assessor, Hyperband)
    return assessor


def published_sizes(whole: int, eta: int) -> list[int]:
    """How many trials each bracket starts with, from the one that halves most often to the one that never does."""
    most = math.floor(math.log(whole, eta) + 1e-9)
    return [math.ceil((most + 1) / (halvings + 1) * eta**halvings) for halvings in range(most, -1, -1)]


@given(st.sampled_from([(81, 3), (27, 3), (16, 2), (100, 4)]), st.integers(0, 10_000))
def test_trials_are_spread_as_the_brackets_sizes(whole: tuple[int, int], first: int) -> None:
    """In any row of trials, by no more than a few trials of difference."""
    sizes = published_sizes(*whole)
    assessor = hyperband(max_resource=whole[0], reduction_factor=whole[1])
    dealt = Counter(assessor.bracket(number) for number in range(first, first + 2 * sum(sizes)))
    assert dealt.keys() <= set(range(len(sizes)))
    assert [dealt[bracket] for bracket in range(len(sizes))] == pytest.approx([2 * size for size in sizes], abs=4)


def first_stop(assessor: Hyperband, bracket: int) -> int | None:
    """The step at which a hopeless trial of a bracket is stopped."""
    numbers = [number for number in range(2000) if assessor.bracket(number) == bracket][:40]
    others = [Curve(number, [1.0] * 81) for number in numbers[1:]]
    steps = (step for step in range(1, 82) if assessor.judge(Curve(numbers[0], [0.0] * step), others).stop)
    return next(steps, None)


def test_brackets_start_to_halve_later_and_later() -> None:
    assessor = hyperband(max_resource=81)
    assert [first_stop(assessor, bracket) for bracket in range(5)] == [1, 3, 9, 27, None]
    assessor = hyperband(max_resource=80, min_resource=2)
    assert [first_stop(assessor, bracket) for bracket in range(4)] == [2, 6, 18, None]


def test_a_bracket_halves_as_often_as_published() -> None:
    """Of 80 results the rungs 1, 3 and 9 are left: 27 would be a whole trial of the last bracket."""
    assessor = hyperband(max_resource=80)
    numbers = [number for number in range(500) if assessor.bracket(number) == 0][:30]
    others = [Curve(number, [1.0] * 80) for number in numbers[1:]]
    judged = [
        step for step in range(1, 80) if assessor.judge(Curve(numbers[0], [1.0] * (step - 1) + [0.0]), others).stop
    ]
    assert judged == [1, 3, 9]


def test_only_the_own_bracket_counts() -> None:
    assessor = hyperband(max_resource=81)
    better = [Curve(number, [1.0] * 81) for number in range(300)]
    number = next(number for number in range(300) if assessor.bracket(number) == 1)
    strangers = [other for other in better if assessor.bracket(other.number) != 1]
    assert not assessor.judge(Curve(number, [0.0] * 3), strangers).stop
    assert assessor.judge(Curve(number, [0.0] * 3), [other for other in better if other.number != number]).stop


def test_a_whole_trial_has_room_for_a_halving() -> None:
    with pytest.raises(ValidationError, match=r"at least min_resource \* reduction_factor, which is 12"):
        hyperband(max_resource=11, min_resource=4)
