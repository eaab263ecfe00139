"""The history: every trial that has begun, and the best so far."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune import plots
from autoprune.records import OptimizeMode, TrialState
from autoprune.results.models import Trial
from tests.plots.made import note, plain, trace, trial

VALUES = st.none() | st.floats(-1e300, 1e300)


@st.composite
def trials(draw: st.DrawFn) -> list[Trial]:
    numbers = draw(st.lists(st.integers(0, 10_000), unique=True, max_size=30))
    return [
        trial(
            number,
            draw(VALUES),
            draw(st.sampled_from(TrialState)),
            feasible=draw(st.booleans()),
            repeat_of=draw(st.none() | st.just(0)),
        )
        for number in numbers
    ]


@given(trials(), st.sampled_from(OptimizeMode))
def test_the_line_is_the_best_of_all_that_may_be_the_best(made: list[Trial], mode: OptimizeMode) -> None:
    figure = plots.history(made, mode)
    own = sorted(
        (each.number, each.value)
        for each in made
        if each.state is TrialState.SUCCEEDED and each.feasible and each.repeat_of is None and each.value is not None
    )
    if not own:
        assert not any(each.name == "best so far" for each in figure.data)
        return
    better = max if mode is OptimizeMode.MAXIMIZE else min
    course = list(accumulate((value for _, value in own), better))
    led = [pair for place, pair in enumerate(own) if place == 0 or course[place] != course[place - 1]]
    line = trace(figure, "best so far")
    drawn = list(zip(line["x"], line["y"], strict=True))
    assert drawn[:-1] == led
    assert drawn[-1] == (max(each.number for each in made if each.state is not TrialState.WAITING), drawn[-2][1])
    assert line["y"] == sorted(line["y"], reverse=mode is OptimizeMode.MINIMIZE)


@given(trials(), st.sampled_from(OptimizeMode))
def test_every_trial_that_has_begun_has_a_sign(made: list[Trial], mode: OptimizeMode) -> None:
    signs = [each for each in plain(plots.history(made, mode))["data"] if each["name"] != "best so far"]
    shown = {
        number: value if each["yaxis"] == "y" else None
        for each in signs
        for number, value in zip(each["x"], each["y"], strict=True)
    }
    assert shown == {each.number: each.value for each in made if each.state is not TrialState.WAITING}
    assert sum(len(each["x"]) for each in signs) == len(shown)


def test_signs_tell_what_became_of_a_trial() -> None:
    made = [
        trial(0, 0.5, origin="lamp"),
        trial(1, 0.9, feasible=False),
        trial(2, 0.6, repeat_of=0),
        trial(3, state="FAILED", message="exit code 1"),
        trial(4, 0.3, state="EARLY_STOPPED"),
        trial(5, state="EARLY_STOPPED"),
        trial(6, state="WAITING"),
    ]
    signs = plain(plots.history(made, "maximize"))["data"][:-1]
    told = [(sign["name"], sign["x"], sign["text"]) for sign in signs]
    assert told == [
        ("succeeded", [0], ["<br>lamp"]),
        ("infeasible", [1], ["<br>breaks a constraint"]),
        ("repeated", [2], ["<br>repeat of 0"]),
        ("failed", [3], ["<br>FAILED<br>exit code 1"]),
        ("early stopped", [4], ["<br>EARLY_STOPPED"]),
        ("early stopped", [5], ["<br>EARLY_STOPPED"]),
    ]
    assert len({(sign["marker"]["color"], sign["marker"]["symbol"]) for sign in signs}) == 5


@pytest.mark.parametrize("mode", OptimizeMode)
def test_of_many_trials_those_that_led_are_shown(mode: OptimizeMode) -> None:
    up = 1 if mode is OptimizeMode.MAXIMIZE else -1
    made = [trial(number, up * (number if number % 100 == 7 else 0.0)) for number in range(5000)]
    figure = plots.history(made, mode)
    assert note(figure) == "2,000 of 5,000 trials are shown, those that were the best in their time among them"
    assert trace(figure, "best so far")["x"] == [0, *range(7, 5000, 100), 4999]
    assert set(range(7, 5000, 100)) < set(trace(figure, "succeeded")["x"])
