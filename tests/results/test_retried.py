"""How long trials took that were started more than once: what their attempts took, without the wait between them."""

from __future__ import annotations

import csv
import io

import pytest
from sample_workspace import Sample, clock

from autoprune import plots
from autoprune.records import Exit, TrialState, seconds
from autoprune.results import Results, write_csv
from autoprune.store import trials


@pytest.fixture
def results(fresh: Sample) -> Results:
    """Trial 1 ran for 4 s, then waited for 40 s, and ran for 2 s; the others took 4 s, and 3 waits for its second
    attempt."""
    for number in (0, 1, 2, 3):
        fresh.add(number)
        fresh.start(number)
        fresh.finish(number, TrialState.USER_CANCELED)
    with fresh.store.write() as tx:
        trials.reopen(tx, fresh.id, 1)
        trials.start(tx, fresh.id, 1, 1, clock(46))
        trials.end_attempt(tx, fresh.id, 1, 1, clock(48), Exit(0), "in the end")
        trials.finish(tx, fresh.id, 1, TrialState.SUCCEEDED, clock(48), value=0.5)
        trials.reopen(tx, fresh.id, 3)
    return Results(fresh.workspace, fresh.store)


TOOK = [4.0, 6.0, 4.0, None]


def test_every_answer_tells_the_time_of_the_attempts(results: Results, fresh: Sample) -> None:
    assert [trial.duration for trial in results.all_trials()] == TOOK
    assert [trial.duration for trial in results.outlines()] == TOOK
    assert [results.trial(None, number).duration for number in range(4)] == TOOK
    assert results.best().duration == 6.0
    durations = results.statistics().durations
    assert durations is not None
    assert (durations.count, durations.total, durations.longest) == (3, 14.0, 6.0)
    file = io.StringIO(newline="")
    write_csv(results, fresh.id, file)
    told = [row["duration"] for row in csv.DictReader(io.StringIO(file.getvalue()))]
    assert told == ["4.0", "6.0", "4.0", ""]


def test_and_is_sorted_by_it(results: Results) -> None:
    first = results.trials(sort="-duration", limit=2)
    rest = results.trials(sort="-duration", limit=2, cursor=first.next)
    assert [trial.number for page in (first, rest) for trial in page.items] == [1, 0, 2, 3]


def test_what_still_runs_or_ran_elsewhere_has_taken_no_time_yet(results: Results, fresh: Sample) -> None:
    fresh.start(3, attempt=1)
    fresh.add(4)
    assert [trial.duration for trial in results.all_trials()] == [*TOOK, None]


def test_a_trial_that_runs_again_has_run_before(results: Results, fresh: Sample) -> None:
    """Trial 3 took 4 s, waited, and runs since second 50; 4 runs for the first time."""
    with fresh.store.write() as tx:
        trials.start(tx, fresh.id, 3, 1, clock(50))
    fresh.add(4)
    fresh.start(4)
    running = results.trials(states=[TrialState.RUNNING]).items
    assert results.since(None, running) == {3: clock(46), 4: clock(5)}


def test_the_attempts_of_all_such_trials_come_at_once(results: Results, fresh: Sample) -> None:
    fresh.add(4)
    assert results.retried() == {number: results.trial(None, number).runs for number in (1, 3)}


def test_figures_of_time_leave_the_wait_out(results: Results) -> None:
    made, retried = results.outlines(), results.retried()
    bars = [
        (int(number), seconds(base) - seconds(clock(0)), width / 1000)
        for trace in plots.timeline(made, retried=retried).data
        for number, base, width in zip(trace.text, trace.base, trace.x, strict=True)
    ]
    assert sorted(bars) == [(0, 1.0, 4.0), (1, 2.0, 4.0), (1, 46.0, 2.0), (2, 3.0, 4.0), (3, 4.0, 4.0)]
    (line,) = plots.concurrency(made, retried=retried).data
    between = [count for moment, count in zip(line.x, line.y, strict=True) if clock(10) < moment < clock(45)]
    assert len(between) > 100
    assert set(between) == {0}
    assert plots.duration(made).layout.title.subtitle.text == "half of 3 trials took up to 4 s, the dotted line"
