"""Pages, put together, are the whole list in order: nothing twice, nothing left out."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sample_workspace import Sample, clock

from autoprune.records import Trial, TrialState
from autoprune.store import experiments, metrics, trials


@pytest.fixture
def many(fresh: Sample) -> Sample:
    """Sixty trials, many of them equal in value or start, some without."""
    draw = random.Random(3)
    with fresh.store.write() as tx:
        for number in range(60):
            trial = Trial(
                number,
                draw.choice(list(TrialState)),
                {},
                value=draw.choice([None, -1.5, 0.0, 0.1, 0.1 + 0.2, 1e300]),
                created=clock(0),
                started=draw.choice([None, clock(1), clock(2)]),
            )
            trials.create(tx, fresh.id, trial)
    return fresh


def paged(sample: Sample, limit: int, sort: trials.Sort, **filters: Any) -> list[Trial]:
    found: list[Trial] = []
    after = None
    with sample.store.read() as tx:
        while page := trials.page(tx, sample.id, limit=limit, sort=sort, after=after, **filters):
            assert len(page) <= limit
            found += page
            after = trials.Position(getattr(page[-1], sort), page[-1].number)
    return found


@pytest.mark.parametrize("limit", [1, 7, 60])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["number", "value", "started"])
def test_pages_are_the_sorted_list(many: Sample, sort: trials.Sort, descending: bool, limit: int) -> None:
    with many.store.read() as tx:
        everything = trials.all(tx, many.id)
    known = [trial for trial in everything if getattr(trial, sort) is not None]
    unknown = [trial for trial in everything if getattr(trial, sort) is None]
    expected = sorted(known, key=lambda trial: getattr(trial, sort), reverse=descending) + unknown
    assert paged(many, limit, sort, descending=descending) == expected


def test_pages_of_some_states(many: Sample) -> None:
    states = [TrialState.FAILED, TrialState.SUCCEEDED]
    with many.store.read() as tx:
        expected = trials.all(tx, many.id, states)
    assert paged(many, 4, "number", states=states) == expected
    assert {trial.state for trial in expected} == set(states)


def test_a_list_that_grows_repeats_nothing(many: Sample) -> None:
    with many.store.read() as tx:
        first = trials.page(tx, many.id, limit=50)
    many.add(60)
    with many.store.read() as tx:
        rest = trials.page(tx, many.id, limit=50, after=trials.Position(49, 49))
    assert [trial.number for trial in [*first, *rest]] == list(range(61))


def test_pages_of_reports(fresh: Sample) -> None:
    fresh.add(0)
    for attempt in range(3):
        fresh.start(0, attempt)
        for seq in range(5):
            fresh.report(0, seq, 0.5, attempt=attempt)
    found = []
    after = None
    with fresh.store.read() as tx:
        while page := metrics.page(tx, fresh.id, 0, limit=4, after=after):
            found += page
            after = (page[-1].attempt, page[-1].seq)
        assert found == metrics.of_trial(tx, fresh.id, 0)


def test_pages_of_experiments(empty: Sample) -> None:
    for number in range(7):
        empty.create(f"e{number}", clock(number // 2))
    found = []
    after = None
    with empty.store.read() as tx:
        while page := experiments.page(tx, limit=2, after=after):
            found += page
            after = (page[-1].created, page[-1].id)
        assert found == experiments.newest_first(tx)
