"""Threshold stops what is out of bounds, and says by how much."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from autoprune.assessors import Assessor, Curve, assessors
from autoprune.config import load
from autoprune.errors import ConfigError


def threshold(**arguments: object) -> Assessor:
    plugin = assessors.get("Threshold")
    return plugin(plugin.Args.model_validate(arguments))


@pytest.mark.parametrize(
    ("arguments", "latest", "reason"),
    [
        ({"lower": 0.2}, 0.2, ""),
        ({"lower": 0.2}, 0.1, "result 0.1 at step 3 is below the lower bound 0.2"),
        ({"lower": 0}, 1e9, ""),
        ({"upper": 5}, 5.0, ""),
        ({"upper": 5}, 7.5, "result 7.5 at step 3 is above the upper bound 5"),
        ({"lower": -1.0, "upper": 1.0}, -2.0, "result -2 at step 3 is below the lower bound -1"),
        ({"upper": 5, "optimize_mode": "maximize"}, 6.0, "result 6 at step 3 is above the upper bound 5"),
    ],
)
def test_the_latest_result_stays_within_bounds(arguments: dict[str, object], latest: float, reason: str) -> None:
    verdict = threshold(**arguments).judge(Curve(0, [99.0, -99.0, latest]), [])
    assert (verdict.stop, verdict.reason) == (bool(reason), reason)


@pytest.mark.parametrize(("start_step", "first"), [(0, 1), (1, 1), (3, 3)])
def test_a_trial_is_judged_from_its_start_step_on(start_step: int, first: int) -> None:
    assessor = threshold(lower=1.0, start_step=start_step)
    assert next(step for step in range(6) if assessor.judge(Curve(0, [0.0] * step), []).stop) == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "lower, upper, or both"),
        ({"lower": 2, "upper": 1}, "a lower that is not above upper, which is 1"),
        ({"lower": float("-inf")}, "finite"),
    ],
)
def test_bounds_must_bound(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        threshold(**arguments)


def test_a_file_without_bounds_is_told_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(
        "searchSpace: {x: {_type: uniform, _value: [0, 1]}}\ntrialCommand: python trial.py\n"
        "assessor: {name: threshold, classArgs: {start_step: 3}}\n"
    )
    with pytest.raises(ConfigError, match=r"config.yml:3:\d+: assessor.classArgs: .*expected lower, upper, or both"):
        load(tmp_path / "config.yml")
