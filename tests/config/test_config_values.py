"""Durations and the other kinds of value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from autoprune.config import format_duration, parse_duration
from autoprune.config.values import UNITS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100h", 360_000.0),
        ("30m", 1_800.0),
        ("45s", 45.0),
        ("2d", 172_800.0),
        ("0.5h", 1_800.0),
        (".5m", 30.0),
        ("90", 90.0),
        (90, 90.0),
        (1.5, 1.5),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "h", "1 h", "1h30m", "-1h", "1e3s", "0s", 0, -5, True, None, [], "1w", "1H", math.inf, math.nan, "٣s"]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(PydanticCustomError, match="a duration"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["109501d", "9" * 400 + "h", 1e300, 10**10, 10**400, "109500.1d"])
def test_what_no_machine_will_see_the_end_of(value: object) -> None:
    assert parse_duration("109500d") == 300 * 365 * 86400
    with pytest.raises(PydanticCustomError, match="300 years at most"):
        parse_duration(value)


@given(st.decimals(min_value="0.001", max_value=10**5, places=3), st.sampled_from(sorted(UNITS)))
def test_any_number_with_any_unit(number: object, unit: str) -> None:
    assert parse_duration(f"{number:f}{unit}") == float(f"{number:f}") * UNITS[unit]


@given(st.floats(min_value=1e-4, max_value=1e9))
def test_format_is_read_back_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(360_000.0, "100h"), (172_800.0, "2d"), (90.0, "90s"), (60.0, "1m"), (0.5, "0.5")]
)
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
