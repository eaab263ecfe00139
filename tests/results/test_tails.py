"""The last reports of many trials at once."""

from __future__ import annotations

import pytest
from sample_workspace import Sample, clock

from autoprune.records import Metric, TrialState
from autoprune.results import Results
from autoprune.store import metrics, trials


def told(sample: Sample, number: int, count: int, attempt: int = 0) -> None:
    """Reports 0, 1, 2, ..., whose values are their places; written from the last on."""
    reports = [Metric(attempt, seq, False, float(seq), {"default": seq}, clock(seq)) for seq in range(count)]
    with sample.store.write() as tx:
        metrics.add(tx, sample.id, number, reversed(reports))


@pytest.fixture
def results(fresh: Sample) -> Results:
    """Trial 0 reported 7 times, 1 twice, 2 nothing; 3 had 9 reports in its first attempt and 4 in its second, 4 had 5
    and began again without any; 5 has not begun."""
    for number in range(6):
        fresh.add(number)
    for number in range(5):
        fresh.start(number)
    for number, count in {0: 7, 1: 2, 3: 9, 4: 5}.items():
        told(fresh, number, count)
    for number in (3, 4):
        fresh.finish(number, TrialState.FAILED)
        with fresh.store.write() as tx:
            trials.reopen(tx, fresh.id, number)
        fresh.start(number, attempt=1)
    told(fresh, 3, 4, attempt=1)
    return Results(fresh.workspace, fresh.store)


def test_the_last_few_of_the_last_attempt_in_order_and_how_many_there_are(results: Results) -> None:
    found = results.tails(None, range(6), 3)
    assert {number: tail.count for number, tail in found.items()} == {0: 7, 1: 2, 3: 4}
    assert {number: [(one.attempt, one.seq) for one in tail.reports] for number, tail in found.items()} == {
        0: [(0, 4), (0, 5), (0, 6)],
        1: [(0, 0), (0, 1)],
        3: [(1, 1), (1, 2), (1, 3)],
    }


def test_of_these_trials_alone(results: Results) -> None:
    assert list(results.tails(None, [1, 2, 77], 1)) == [1]
    assert results.tails(None, [], 5) == {}


@pytest.mark.parametrize("most", [1, 4, 7, 100])
def test_they_are_the_end_of_the_whole_curve(results: Results, most: int) -> None:
    curves = results.curves(None, range(6))
    assert {number: tail.reports for number, tail in results.tails(None, range(6), most).items()} == {
        number: reports[-most:] for number, reports in curves.items()
    }
