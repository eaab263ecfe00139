"""What becomes of a trial, for every way an attempt can end."""

from __future__ import annotations

import pytest

from autoprune.manager.verdict import Cut, conclude
from autoprune.records import Exit, Metric, TrialState


def report(value: float | None, final: bool) -> Metric:
    return Metric(0, 0, final, value, {"default": value, "sparsity": 0.8}, "t")


FINAL = report(0.9, final=True)
LAST = report(0.5, final=False)
NAN = report(None, final=True)
CLEAN, CRASHED, KILLED = Exit(0), Exit(1), Exit(None, 9)


@pytest.mark.parametrize(
    ("exit", "final", "last", "cut", "state", "value"),
    [
        (CLEAN, FINAL, LAST, None, "SUCCEEDED", 0.9),
        (CRASHED, FINAL, LAST, None, "SUCCEEDED", 0.9),
        (KILLED, FINAL, None, Cut.ASSESSOR, "SUCCEEDED", 0.9),
        (KILLED, FINAL, None, Cut.TOO_LONG, "SUCCEEDED", 0.9),
        (None, FINAL, None, None, "SUCCEEDED", 0.9),
        (CLEAN, NAN, LAST, None, "INVALID", None),
        (CLEAN, None, LAST, None, "INVALID", None),
        (CRASHED, None, LAST, None, "FAILED", None),
        (KILLED, None, None, None, "FAILED", None),
        (KILLED, None, LAST, Cut.ASSESSOR, "EARLY_STOPPED", 0.5),
        (CLEAN, None, LAST, Cut.ASSESSOR, "EARLY_STOPPED", 0.5),
        (KILLED, None, LAST, Cut.CANCELED, "USER_CANCELED", None),
        (KILLED, None, LAST, Cut.TOO_LONG, "FAILED", None),
        (KILLED, None, LAST, Cut.OVER, "USER_CANCELED", None),
        (KILLED, None, LAST, Cut.INTERRUPTED, "WAITING", None),
        (None, None, LAST, None, "WAITING", None),
    ],
)
def test_endings(
    exit: Exit | None, final: Metric | None, last: Metric | None, cut: Cut | None, state: str, value: float | None
) -> None:
    ending = conclude(exit, final, last, cut, "", "")
    assert (ending.state, ending.value) == (TrialState(state), value)


def test_a_crash_after_the_result_is_a_warning() -> None:
    assert conclude(CRASHED, FINAL, None, None, "", "").message == "exit code 1 after the final result"
    assert conclude(CLEAN, FINAL, None, None, "", "").message == ""


def test_a_failure_says_what_the_script_said_last() -> None:
    assert conclude(CRASHED, None, None, None, "", "ValueError: bad").message == "exit code 1: ValueError: bad"
    assert conclude(KILLED, None, None, None, "", "").message == "signal 9"


def test_the_whole_report_is_kept() -> None:
    assert conclude(CLEAN, FINAL, None, None, "", "").metrics == {"default": 0.9, "sparsity": 0.8}
    assert "not a finite number" in conclude(CLEAN, NAN, None, None, "", "").message
