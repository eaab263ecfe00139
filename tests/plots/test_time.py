"""The figures of time: what trials reported on their way, when they ran, how many at a time, and for how long."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune import plots
from autoprune.records import seconds, timestamp
from autoprune.results.models import Trial
from tests.plots.made import START, note, plain, report, trial

MOMENTS = st.integers(0, 1000)


@st.composite
def runs(draw: st.DrawFn) -> list[Trial]:
    times = draw(st.lists(st.tuples(MOMENTS, st.none() | MOMENTS), min_size=1, max_size=20))
    return [
        trial(
            number,
            state="RUNNING" if lasted is None else "FAILED",
            started=timestamp(START + begun),
            ended=None if lasted is None else timestamp(START + begun + lasted),
        )
        for number, (begun, lasted) in enumerate(times)
    ]


def test_a_curve_has_every_report_in_order() -> None:
    curves = {7: [report(0.1, 0), report(None, 1), report(0.3, 2, final=True)], 2: [report(0.2, 0)]}
    figure = plots.intermediate(curves)
    assert [line.name for line in figure.data] == ["trial 2", "trial 7"]
    assert list(figure.data[1].y) == [0.1, None, 0.3]
    assert list(figure.data[1].x) == [0, 1, 2]


def test_a_final_result_alone_is_no_curve() -> None:
    assert not plots.intermediate({0: [report(0.1, final=True)]}).data


def test_of_many_curves_the_newest_are_shown_and_of_long_ones_some_points() -> None:
    curves = {number: [report(float(seq), seq) for seq in range(500)] for number in range(120)}
    figure = plots.intermediate(curves)
    assert [line.name for line in figure.data] == [f"trial {number}" for number in range(20, 120)]
    assert (len(figure.data[0].x), figure.data[0].x[0], figure.data[0].x[-1]) == (200, 0, 499)
    assert note(figure).split("<br>") == [
        "100 of 120 trials are shown, the newest that reported on their way",
        "at most 200 reports of each are shown",
    ]
    assert note(plots.intermediate(curves, of=10_000)).startswith("100 of 10,000 trials")


@given(runs())
def test_bars_last_as_long_as_trials_and_do_not_overlap(made: list[Trial]) -> None:
    traces = plain(plots.timeline(made))["data"]
    bars = [
        (row, seconds(base), width / 1000, int(number))
        for each in traces
        for row, base, width, number in zip(each["y"], each["base"], each["x"], each["text"], strict=True)
    ]
    assert sorted(number for *_, number in bars) == [each.number for each in made]
    for row, start, width, number in bars:
        assert start == seconds(made[number].started or "")
        if made[number].ended:
            assert width == pytest.approx(seconds(made[number].ended or "") - start)
        others = [(from_, from_ + long) for there, from_, long, other in bars if there == row and other != number]
        assert all(end <= start or start + width <= begin or begin == end for begin, end in others if width)


def test_bars_are_by_state() -> None:
    made = [trial(0, 0.5), trial(1, state="FAILED", message="out of <memory>"), trial(2, state="WAITING", started=None)]
    figure = plots.timeline(made)
    assert [bars.name for bars in figure.data] == ["succeeded", "failed"]
    assert figure.data[1].customdata[0] == "15.0 s<br>out of &lt;memory&gt;"


@given(runs())
def test_the_area_of_concurrency_is_the_time_of_all_trials(made: list[Trial]) -> None:
    (line,) = plain(plots.concurrency(made))["data"]
    moments = [seconds(moment) for moment in line["x"]]
    widths = [later - earlier for earlier, later in pairwise(moments)]
    area = sum(width * count for width, count in zip(widths, line["y"], strict=False))
    latest = max(seconds(each.ended or each.started or "") for each in made)
    spent = sum(
        max(0.0, (seconds(each.ended) if each.ended else latest) - seconds(each.started or "")) for each in made
    )
    assert area == pytest.approx(spent, rel=0.01, abs=1.0)
    assert 0 <= min(line["y"]) <= max(line["y"]) <= len(made)


@pytest.mark.parametrize(
    ("lasted", "said"), [(3, "10 ms"), (84, "280 ms"), (600, "2 s"), (36_000, "2 min"), (2_000_000, "1.9 h")]
)
def test_concurrency_says_how_long_its_means_are_of(lasted: float, said: str) -> None:
    figure = plots.concurrency([trial(0, 0.5, ended=timestamp(START + lasted))])
    assert note(figure) == f"each step is the mean over {said}"


def test_every_trial_that_is_over_counts_among_the_durations() -> None:
    made = [trial(place, 0.5, ended=timestamp(START + 10 * place + 1 + place)) for place in range(30)]
    made += [
        trial(30, state="FAILED"),
        trial(31, state="RUNNING", ended=None),
        trial(32, state="WAITING", started=None),
    ]
    figure = plots.duration(made)
    assert {bars.name: sum(bars.y) for bars in figure.data} == {"succeeded": 30, "failed": 1}
    assert note(figure) == "half of 31 trials took up to 15 s, the dotted line"
    assert figure.layout.shapes[0].x0 == 15
