"""Median stop follows NNI's rule."""

from __future__ import annotations

import pytest

from autoprune.assessors import Assessor, Curve, assessors
from autoprune.records import OptimizeMode


def medianstop(mode: str = "maximize", start_step: int = 0) -> Assessor:
    plugin = assessors.get("Medianstop")
    return plugin(plugin.Args.model_validate({"optimize_mode": OptimizeMode(mode), "start_step": start_step}))


def completed(*curves: list[float]) -> list[Curve]:
    return [Curve(number, curve, completed=True) for number, curve in enumerate(curves)]


def test_the_best_so_far_is_compared_with_the_median_of_averages() -> None:
    others = completed([0.1, 0.3, 0.9], [0.3, 0.5, 0.9], [0.5, 0.7, 0.9])
    assert medianstop().judge(Curve(9, [0.2, 0.35]), others).stop
    assert not medianstop().judge(Curve(9, [0.2, 0.4]), others).stop
    assert not medianstop().judge(Curve(9, [0.4, 0.1]), others).stop


def test_the_reason_tells_the_figures() -> None:
    verdict = medianstop().judge(Curve(9, [0.2, 0.1]), completed([0.3, 0.5], [0.3, 0.5]))
    assert verdict.reason == "best of 2 results 0.2 is below the median 0.4 of 2 completed trials"
    verdict = medianstop("minimize").judge(Curve(9, [0.9]), completed([0.5]))
    assert verdict.reason == "best of 1 results 0.9 is above the median 0.5 of 1 completed trials"


def test_of_an_even_number_the_milder_middle_counts() -> None:
    others = completed([0.1], [0.2], [0.3], [0.4])
    assert not medianstop().judge(Curve(9, [0.2]), others).stop
    assert medianstop().judge(Curve(9, [0.19]), others).stop
    assert not medianstop("minimize").judge(Curve(9, [0.3]), others).stop


def test_only_completed_trials_that_came_as_far_count() -> None:
    others = [*completed([0.9]), Curve(1, [0.9, 0.9]), Curve(2, [0.9, 0.9])]
    assert not medianstop().judge(Curve(9, [0.1, 0.1]), others).stop
    assert medianstop().judge(Curve(9, [0.1]), others).stop


@pytest.mark.parametrize(("start_step", "stops"), [(0, 1), (1, 1), (3, 3)])
def test_a_trial_is_judged_from_its_start_step_on(start_step: int, stops: int) -> None:
    assessor = medianstop(start_step=start_step)
    others = completed([0.9] * 5)
    stopped = [count for count in range(5) if assessor.judge(Curve(9, [0.1] * count), others).stop]
    assert stopped[0] == stops
