"""What every assessor keeps to. A new assessor is tried here without an edit: its file is enough, unless it has
arguments that must be given."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoprune.assessors import Assessor, Curve, assessors
from autoprune.records import OptimizeMode, Verdict

MAXIMIZE, MINIMIZE = OptimizeMode.MAXIMIZE, OptimizeMode.MINIMIZE

REQUIRED: dict[str, dict[str, object]] = {
    "Curvefitting": {"epoch_num": 10},
    "Hyperband": {"max_resource": 9},
    "Threshold": {"lower": -2, "upper": 2},
}
"""Arguments that must be given; bounds on results lie so that they mirror themselves."""
RELATIVE = ("Asha", "Curvefitting", "Hyperband", "Medianstop")
"""Those that compare trials with one another."""

_values = st.lists(st.floats(-1e300, 1e300), max_size=12).map(tuple)
_curves = st.lists(st.tuples(_values, st.booleans()), max_size=6)
_names = st.sampled_from(assessors.names())


def make(name: str, mode: OptimizeMode = MAXIMIZE) -> Assessor:
    plugin = assessors.get(name)
    return plugin(plugin.Args.model_validate({**REQUIRED.get(name, {}), "optimize_mode": mode}))


def curves(drawn: list[tuple[tuple[float, ...], bool]], sign: int = 1) -> list[Curve]:
    return [
        Curve(number, tuple(sign * value for value in values), completed)
        for number, (values, completed) in enumerate(drawn)
    ]


@given(_names, _values, _curves)
def test_any_curves_get_a_verdict_with_a_reason(
    name: str, values: tuple[float, ...], drawn: list[tuple[tuple[float, ...], bool]]
) -> None:
    curve, others = Curve(99, values), curves(drawn)
    before = copy.deepcopy(others)
    verdict = make(name).judge(curve, others)
    assert isinstance(verdict, Verdict)
    assert bool(verdict.reason) == verdict.stop
    assert others == before


@given(_names, _values, _curves)
def test_the_verdict_depends_on_the_curves_alone(
    name: str, values: tuple[float, ...], drawn: list[tuple[tuple[float, ...], bool]]
) -> None:
    """Also in an assessor that has judged before: a restart does not change a verdict."""
    curve, others = Curve(99, values), curves(drawn)
    experienced = make(name)
    for other in others:
        experienced.judge(other, [curve])
    assert experienced.judge(curve, others) == make(name).judge(curve, others)


@given(_names, _values, _curves)
def test_maximizing_mirrors_minimizing(
    name: str, values: tuple[float, ...], drawn: list[tuple[tuple[float, ...], bool]]
) -> None:
    one = make(name, MAXIMIZE).judge(Curve(99, values), curves(drawn))
    other = make(name, MINIMIZE).judge(Curve(99, tuple(-value for value in values)), curves(drawn, -1))
    assert one.stop == other.stop


@given(st.sampled_from(RELATIVE), _values)
def test_a_trial_alone_goes_on(name: str, values: tuple[float, ...]) -> None:
    assert not make(name).judge(Curve(0, values), []).stop


@given(st.sampled_from(RELATIVE), st.sampled_from([1, -1]), _curves, st.integers(0, 12))
def test_the_best_trial_of_all_goes_on(
    name: str, sign: int, drawn: list[tuple[tuple[float, ...], bool]], count: int
) -> None:
    """Nothing that another has reported is better than anything of its own."""
    assessor = make(name, MAXIMIZE if sign > 0 else MINIMIZE)
    best = max((value for values, _ in drawn for value in values), default=0.0)
    assert not assessor.judge(Curve(99, (sign * best,) * count), curves(drawn, sign)).stop


@pytest.mark.parametrize("name", REQUIRED)
def test_arguments_that_must_be_given(name: str) -> None:
    with pytest.raises(ValidationError):
        assessors.get(name).Args.model_validate({})


@pytest.mark.parametrize("name", assessors.names())
def test_a_trial_that_improves_ahead_of_all_others_goes_on(name: str) -> None:
    assessor = make(name)
    others = [Curve(number, [step / 100 for step in range(50)], completed=True) for number in range(5)]
    for count in range(1, 50):
        assert not assessor.judge(Curve(9, [0.5 + step / 100 for step in range(count)]), others).stop


def test_importing_them_is_light() -> None:
    code = (
        "import json, sys; from autoprune.assessors import assessors; assessors.names();"
        "print(json.dumps([name for name in ('torch', 'numpy', 'scipy') if name in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
