"""An experiment in numbers."""

from __future__ import annotations

import pytest
from sample_workspace import Sample, clock

from autoprune.records import OptimizeMode, TrialState
from autoprune.results import Results
from autoprune.results.models import Improvement
from autoprune.results.statistics import MOST_IMPROVEMENTS, thinned
from autoprune.store import experiments


def results_of(sample: Sample) -> Results:
    return Results(sample.workspace, sample.store)


def test_the_sample_in_numbers(sample: Sample) -> None:
    found = results_of(sample).statistics()
    assert found.total == 9
    assert found.trials == {
        TrialState.SUCCEEDED: 3,
        **dict.fromkeys(set(TrialState) - {TrialState.SUCCEEDED}, 1),
    }
    assert found.finished == 7
    assert found.success_rate == pytest.approx(3 / 7)
    assert (found.first_started, found.last_ended) == (clock(1), clock(20))
    assert found.durations is not None
    assert found.durations.model_dump() == {
        "count": 6,
        "total": 25.0,
        "mean": 25 / 6,
        "median": 4.0,
        "p95": 5.0,
        "longest": 5.0,
    }
    assert found.trials_per_hour is None
    assert [(one.number, one.value) for one in found.improvements] == [(0, 0.9), (1, 0.95)]
    assert (found.starting_points, found.repeats, found.infeasible, found.imported, found.retried) == (0, 0, 0, 0, 1)


def test_of_a_repeated_experiment(repeated: Sample) -> None:
    with repeated.store.write() as tx:
        experiments.set_active_seconds(tx, repeated.id, 16.0)
    found = results_of(repeated).statistics()
    assert [(one.number, one.value) for one in found.improvements] == [(0, 0.8), (1, 0.95)]
    assert (found.starting_points, found.repeats, found.infeasible) == (1, 4, 1)
    assert found.trials_per_hour == 8 / 16 * 3600


def test_where_less_is_better(empty: Sample) -> None:
    empty.create(mode=OptimizeMode.MINIMIZE)
    for number, value in enumerate([0.5, 0.7, 0.2, 0.2, 0.1]):
        empty.succeed(number, value)
    improvements = results_of(empty).statistics().improvements
    assert [(one.number, one.value, one.ended) for one in improvements] == [
        (0, 0.5, clock(5)),
        (2, 0.2, clock(7)),
        (4, 0.1, clock(9)),
    ]


def test_before_the_first_trial(fresh: Sample) -> None:
    found = results_of(fresh).statistics()
    assert (found.total, found.trials, found.improvements) == (0, {}, [])
    assert found.success_rate is found.durations is found.first_started is found.last_ended is None


@pytest.mark.parametrize("count", [0, 1, MOST_IMPROVEMENTS, MOST_IMPROVEMENTS + 1, 10 * MOST_IMPROVEMENTS])
def test_of_many_improvements_some_are_shown(count: int) -> None:
    every = [Improvement(number=number, value=number, ended=None) for number in range(count)]
    some = thinned(every)
    assert len(some) == min(count, MOST_IMPROVEMENTS)
    assert [one.number for one in some] == sorted({one.number for one in some})
    assert (some[:1], some[-1:]) == (every[:1], every[-1:])
