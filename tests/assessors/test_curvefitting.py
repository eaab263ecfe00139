"""Curve fitting foresees the end of published learning curves, and stops those that will not come up to the best."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.assessors import Assessor, Curve, assessors
from autoprune.assessors.curvefitting import predict

PUBLISHED: dict[str, Callable[[float], float]] = {
    "vap": lambda x: math.exp(-0.2 - 1.5 / x + 0.02 * math.log(x)),
    "pow3": lambda x: 0.9 - 0.6 * x**-0.7,
    "pow4": lambda x: 0.9 - (2 * x + 1) ** -0.8,
    "log power": lambda x: 0.9 / (1 + (x / math.exp(1.2)) ** -1.1),
    "exp4": lambda x: 0.85 - math.exp(-0.3 * x**0.7 - 0.2),
    "mmf": lambda x: 0.92 - 0.82 / (1 + (0.3 * x) ** 1.2),
    "ilog2": lambda x: 0.95 - 0.5 / math.log(x + 1),
    "logx linear": lambda x: 0.3 + 0.1 * math.log(x),
    "dr hill zero background": lambda x: 0.9 * x**1.3 / (4**1.3 + x**1.3),
    "weibull": lambda x: 0.9 - 0.8 * math.exp(-((0.15 * x) ** 0.8)),
}
END = 50
_curves = st.lists(st.floats(-1, 1), min_size=3, max_size=20)


def curvefitting(**arguments: object) -> Assessor:
    plugin = assessors.get("Curvefitting")
    return plugin(plugin.Args.model_validate({"epoch_num": END, **arguments}))


def grown(family: str, steps: int, scale: float = 1.0) -> list[float]:
    return [scale * PUBLISHED[family](step) for step in range(1, steps + 1)]


@pytest.mark.parametrize("family", PUBLISHED)
@pytest.mark.parametrize(("steps", "error"), [(10, 0.06), (20, 0.04), (30, 0.025)])
def test_it_foresees_published_families(family: str, steps: int, error: float) -> None:
    """Those too that it does not fit itself, by far better than the last value does where the curve still rises."""
    end = PUBLISHED[family](END)
    assert predict(grown(family, steps), END) == pytest.approx(end, abs=error)


@pytest.mark.parametrize("family", ["pow3", "ilog2", "logx linear"])
def test_from_six_results_of_a_family_it_knows(family: str) -> None:
    assert predict(grown(family, 6), END) == pytest.approx(PUBLISHED[family](END), abs=0.01)


@given(_curves, st.floats(0.01, 100), st.floats(-100, 100))
def test_units_do_not_matter(values: list[float], scale: float, shift: float) -> None:
    if max(values) - min(values) < 1e-3:
        return
    moved = [scale * value + shift for value in values]
    assert predict(moved, END) == pytest.approx(scale * predict(values, END) + shift, rel=1e-3, abs=scale * 1e-3)


@given(_curves)
def test_a_curve_that_stands_still_is_foreseen_to(values: list[float]) -> None:
    assert predict([values[0]] * len(values), END) == values[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_trial_that_ends_below_the_limit_stops(sign: int) -> None:
    """The limit is 95 % of the best: 0.855 of 0.9. Of a loss, which is negative here, as much beyond the best."""
    assessor = curvefitting(optimize_mode="maximize" if sign > 0 else "minimize")
    others = [Curve(0, [sign * 0.9] * END, completed=True), Curve(1, [sign * 2.0] * END)]
    for scale, stop in [(0.9, True), (0.98, True), (1.02, False), (1.5, False)]:
        end = PUBLISHED["pow3"](END)
        values = [sign * value for value in grown("pow3", 10, scale * 0.855 / end)]
        assert assessor.judge(Curve(9, values), others).stop == stop


def test_losses_above_the_limit_stop() -> None:
    """5 % beyond the best loss of 0.2 are allowed."""
    assessor = curvefitting(optimize_mode="minimize")
    others = [Curve(0, [0.2] * END, completed=True)]

    def loss(end: float) -> Curve:
        return Curve(9, [end + 0.6 * (step**-0.7 - END**-0.7) for step in range(1, 13)])

    assert not assessor.judge(loss(0.205), others).stop
    assert assessor.judge(loss(0.215), others).stop


def test_the_reason_tells_the_figures() -> None:
    others = [Curve(0, [0.5, 0.9], completed=True)]
    verdict = curvefitting().judge(Curve(9, [0.25] * 6), others)
    expected = "predicted 0.25 at step 50 is below 0.855, which the best completed trial's 0.9 asks for"
    assert verdict.reason == expected


def test_what_has_been_good_enough_is_not_stopped_for_a_prediction() -> None:
    falling = [0.9 - step / 20 for step in range(8)]
    assert predict(falling, END) < 0.5
    assert not curvefitting().judge(Curve(9, falling), [Curve(0, [0.9] * END, completed=True)]).stop


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"epoch_num": 12}, [6, 7, 8, 9, 10, 11]),
        ({"epoch_num": 12, "start_step": 3, "gap": 4}, [3, 7, 11]),
        ({"epoch_num": 12, "threshold": 0.1}, []),
    ],
)
def test_when_a_trial_is_judged(arguments: dict[str, object], steps: list[int]) -> None:
    assessor, others = curvefitting(**arguments), [Curve(0, [0.9] * 12, completed=True)]
    assert [step for step in range(16) if assessor.judge(Curve(9, [0.2] * step), others).stop] == steps


def test_without_a_completed_trial_all_go_on() -> None:
    assert not curvefitting().judge(Curve(9, [0.1] * 10), [Curve(0, [0.9] * END)]).stop
