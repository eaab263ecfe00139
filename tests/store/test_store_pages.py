"""Pages, put together, are the whole list in order: nothing twice, nothing left out."""

from __future__ import annotations

import random
from collections.abc import Callable
from operator import attrgetter
from typing import Any, get_args

import pytest
from sample_workspace import Sample, clock
from sqlalchemy import event, insert

from autoprune.records import Trial, TrialState, seconds
from autoprune.search_space.leaves import is_number
from autoprune.store import experiments, listing, metrics, trials
from autoprune.store.listing import Filter, Order
from autoprune.store.schema import attempt as attempts

NUMBERS = Order()
ALL = Filter()
LAYERS = {"layers": {"précision \\ *": 0.5}, "macs": True}


@pytest.fixture
def many(fresh: Sample) -> Sample:
    """Sixty trials, many of them equal in what they are sorted by, some without."""
    draw = random.Random(3)
    with fresh.store.write() as tx:
        for number in range(60):
            trial = Trial(
                number,
                draw.choice(list(TrialState)),
                {},
                value=draw.choice([None, -1.5, 0.0, 0.1, 0.1 + 0.2, 1e300]),
                metrics=draw.choice(
                    [{}, {"macs": 10**12}, {"macs": 7}, {"macs": 7.0}, {"macs": "NaN"}, {"macs": [1]}, LAYERS]
                ),
                created=clock(0),
                started=draw.choice([None, clock(1), clock(2)]),
                ended=draw.choice([None, clock(3), clock(4).replace("000Z", "017Z")]),
                origin=draw.choice(["", "LAMP"]),
                feasible=draw.choice([True, False]),
            )
            trials.create(tx, fresh.id, trial)
            if trial.started is not None:
                attempt = {"attempt": 0, "started": trial.started, "ended": trial.ended}
                tx.execute(insert(attempts).values(experiment=fresh.id, number=number, **attempt))
    return fresh


def paged(sample: Sample, limit: int, order: Order = NUMBERS, only: Filter = ALL) -> list[Trial]:
    found: list[Trial] = []
    after = None
    with sample.store.read() as tx:
        while page := listing.page(tx, sample.id, limit=limit, order=order, only=only, after=after):
            assert len(page) <= limit
            found += [one.trial for one in page]
            after = page[-1].position
    return found


def duration(trial: Trial) -> float | None:
    return None if trial.started is None or trial.ended is None else seconds(trial.ended) - seconds(trial.started)


def macs(trial: Trial) -> float | None:
    value = trial.metrics.get("macs")
    return value if is_number(value) else None


ORDERS: list[tuple[listing.Column | listing.Metric, Callable[[Trial], Any]]] = [
    ("number", attrgetter("number")),
    ("value", attrgetter("value")),
    ("started", attrgetter("started")),
    ("ended", attrgetter("ended")),
    ("duration", duration),
    (listing.Metric(("macs",)), macs),
    (listing.Metric(("layers", "précision \\ *")), lambda trial: trial.metrics.get("layers", {}).get("précision \\ *")),
    (listing.Metric(("none", "has this")), lambda trial: None),
]


@pytest.mark.parametrize("limit", [1, 7, 60])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("by", "key"), ORDERS)
def test_pages_are_the_sorted_list(
    many: Sample, by: listing.Column | listing.Metric, key: Callable[[Trial], Any], descending: bool, limit: int
) -> None:
    with many.store.read() as tx:
        everything = trials.all(tx, many.id)
    known = [trial for trial in everything if key(trial) is not None]
    unknown = [trial for trial in everything if key(trial) is None]
    expected = sorted(known, key=key, reverse=descending) + unknown
    assert paged(many, limit, Order(by, descending)) == expected


FILTERS: list[tuple[Filter, Callable[[Trial], bool]]] = [
    (
        Filter([TrialState.FAILED, TrialState.SUCCEEDED]),
        lambda trial: trial.state in (TrialState.FAILED, TrialState.SUCCEEDED),
    ),
    (Filter(feasible=True), lambda trial: trial.feasible),
    (Filter(feasible=False), lambda trial: not trial.feasible),
    (Filter(origin="LAMP"), lambda trial: trial.origin == "LAMP"),
    (Filter(origin=""), lambda trial: trial.origin == ""),
    (
        Filter([TrialState.RUNNING], feasible=True, origin="LAMP"),
        lambda trial: trial.state is TrialState.RUNNING and trial.feasible and trial.origin == "LAMP",
    ),
]


@pytest.mark.parametrize(("only", "fits"), FILTERS)
def test_pages_of_some_trials(many: Sample, only: Filter, fits: Callable[[Trial], bool]) -> None:
    with many.store.read() as tx:
        expected = [trial for trial in trials.all(tx, many.id) if fits(trial)]
    assert expected
    assert paged(many, 4, only=only) == expected
    assert set(map(attrgetter("number"), paged(many, 4, Order("value"), only))) == {one.number for one in expected}


def test_a_list_that_grows_repeats_nothing(many: Sample) -> None:
    with many.store.read() as tx:
        first = listing.page(tx, many.id, limit=50)
    many.add(60)
    with many.store.read() as tx:
        rest = listing.page(tx, many.id, limit=50, after=first[-1].position)
    assert [one.trial.number for one in [*first, *rest]] == list(range(61))


@pytest.mark.parametrize("by", [*get_args(listing.Column)])
def test_lists_are_sorted_without_reading_whole_trials(many: Sample, by: listing.Column) -> None:
    """What is read is an index that has all that is asked for, never the table, in which parameters stand."""
    statements: list[tuple[str, Any]] = []

    @event.listens_for(many.store.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_others: Any) -> None:
        statements.append((statement, parameters))

    with many.store.read() as tx:
        listing.page(tx, many.id, limit=5, order=Order(by), only=Filter(feasible=True, origin=""))
    statement, parameters = next(one for one in statements if "ORDER BY" in one[0])
    with many.store.read() as tx:
        plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    assert "USING COVERING INDEX trial_in_short" in plan[0].detail


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
