"""What people ask of results: who is best, where things stand, and lists in pages."""

from __future__ import annotations

import base64
import json
import math

import pytest
from sample_workspace import Sample, clock

from autoprune import results as rooms
from autoprune.errors import NotFoundError, UsageError
from autoprune.records import ExperimentState, TrialState
from autoprune.results import NoBestError, Results, cursor
from autoprune.results.models import clean

TRIAL_KEYS = [
    *("number", "state", "parameters", "value", "metrics", "started", "ended", "duration"),
    *("attempts", "message", "origin", "repeat_of", "feasible"),
]


def results_of(sample: Sample) -> Results:
    return Results(sample.workspace, sample.store)


def test_the_best_is_the_first_of_the_best_that_succeeded(sample: Sample) -> None:
    best = results_of(sample).best()
    assert (best.number, best.value) == (1, 0.95), "not the early stopped trial 5 with .99"
    record = rooms.best(sample.store, sample.id)
    assert record is not None
    assert record.number == 1


@pytest.mark.parametrize(("mode", "number"), [("maximize", 1), ("minimize", 0), (None, 1)])
def test_the_best_follows_the_mode(empty: Sample, mode: str | None, number: int) -> None:
    empty.create(mode=mode)
    for trial, value in enumerate([0.1, 0.3, 0.2]):
        empty.succeed(trial, value)
    assert results_of(empty).best().number == number
    assert results_of(empty).experiment().optimize_mode == (mode or "maximize")


def test_no_best_where_none_succeeded(fresh: Sample) -> None:
    fresh.add(0)
    fresh.start(0)
    fresh.finish(0, TrialState.EARLY_STOPPED, 0.99)
    with pytest.raises(NoBestError, match="no trial of digits-300131-abcd has succeeded"):
        results_of(fresh).best("digits")
    assert results_of(fresh).experiment().best is None
    assert rooms.best(fresh.store, fresh.id) is None


def test_the_shape_of_a_trial_is_fixed(sample: Sample) -> None:
    page = results_of(sample).trials().model_dump(mode="json")
    assert list(page) == ["items", "next"]
    assert list(page["items"][1]) == TRIAL_KEYS
    assert page["items"][1] == {
        "number": 1,
        "state": "SUCCEEDED",
        "parameters": {"prune_method": {"_name": "agp", "conv0_sparsity": 0.1}},
        "value": 0.95,
        "metrics": {"default": 0.95, "sparsity": 0.8},
        "started": clock(2),
        "ended": clock(6),
        "duration": 4.0,
        "attempts": 1,
        "message": "",
        "origin": "",
        "repeat_of": None,
        "feasible": True,
    }


def test_a_trial_tells_of_its_attempts(sample: Sample) -> None:
    trial = results_of(sample).trial("digits", 3)
    assert trial.attempts == 2
    assert trial.duration == 1.0 + 4.0, "of both attempts"
    assert [(run.attempt, run.exit_code, run.signal) for run in trial.runs] == [(0, None, 9), (1, 1, None)]
    assert "folder" not in trial.model_dump()
    with pytest.raises(NotFoundError, match="has no trial 9; it has 0 to 8"):
        results_of(sample).trial(None, 9)


def test_an_experiment_in_short_and_in_full(sample: Sample) -> None:
    sample.end(ExperimentState.DONE, "maxTrialNumber reached")
    [short] = results_of(sample).experiments().items
    detail = results_of(sample).experiment(sample.id)
    assert short.trials[TrialState.SUCCEEDED] == 3
    assert sum(short.trials.values()) == 9
    assert short.limits.maxTrialNumber == 9
    assert short.limits.maxTrialDuration is None
    assert (short.state, short.message) == (ExperimentState.DONE, "maxTrialNumber reached")
    assert detail.config["experimentName"] == "digits"
    assert detail.seed == 7
    full = detail.model_dump()
    assert {name: full[name] for name in short.model_dump()} == short.model_dump()


def test_running_without_a_manager_is_interrupted(fresh: Sample) -> None:
    results = results_of(fresh)
    assert results.experiment().state is ExperimentState.INTERRUPTED
    with fresh.workspace.lock(fresh.id):
        assert results.experiment().state is ExperimentState.RUNNING
    assert results.experiments().items[0].state is ExperimentState.INTERRUPTED


def test_an_experiment_that_ends_while_we_look_is_not_interrupted(
    fresh: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(_workspace: object, _id: str) -> bool:
        fresh.end(ExperimentState.DONE)
        return False

    monkeypatch.setattr(type(fresh.workspace), "locked", ends)
    assert results_of(fresh).experiment().state is ExperimentState.DONE


def test_pages_of_trials_follow_their_cursor(sample: Sample) -> None:
    numbers: list[int] = []
    at = None
    while True:
        page = results_of(sample).trials(sort="-value", limit=2, cursor=at)
        numbers += [trial.number for trial in page.items]
        at = page.next
        if at is None:
            break
    assert numbers == [5, 1, 2, 0, 3, 4, 6, 7, 8]
    some = results_of(sample).trials(states=[TrialState.FAILED, TrialState.INVALID])
    assert [trial.number for trial in some.items] == [3, 4]


def test_pages_of_experiments_and_reports(sample: Sample) -> None:
    sample.create("second", clock(1))
    first = results_of(sample).experiments(limit=1)
    second = results_of(sample).experiments(limit=1, cursor=first.next)
    assert [first.items[0].id, second.items[0].id] == ["second", sample.id]
    assert second.next is None
    report = results_of(sample).reports("digits", 0, limit=1)
    rest = results_of(sample).reports("digits", 0, limit=1, cursor=report.next)
    assert [report.items[0].final, rest.items[0].final] == [False, True]
    assert rest.next is None


def raw(*place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "bad",
    [
        "?",
        "é",
        "a" * 5000,
        raw(),
        raw("trials number", 1),
        raw("trials value", 0.5, 1),
        raw("trials -number", 1, 1),
        raw("trials number", "1", 1),
        raw("trials number", True, 1),
        raw("trials number", -1, 1),
        raw("trials number", 2**40, 2**40),
        raw("trials number", 1, 1, 1),
        raw("experiments", "\ud800", "a"),
        base64.urlsafe_b64encode(b"[" * 900).decode(),
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
    ],
)
def test_cursors_of_another_list_are_refused(sample: Sample, bad: str) -> None:
    with pytest.raises(UsageError, match="given the cursor"):
        results_of(sample).trials(cursor=bad)
    with pytest.raises(UsageError, match="given the cursor"):
        results_of(sample).experiments(cursor=bad)


def test_a_cursor_says_nothing_that_is_not_finite() -> None:
    with pytest.raises(UsageError):
        cursor.decode(raw("trials value", math.inf, 1), "trials value", [float], [int])


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**30])
def test_limits(sample: Sample, limit: int) -> None:
    results = results_of(sample)
    for ask in (results.trials, results.experiments):
        with pytest.raises(UsageError, match="1 to 1000"):
            ask(limit=limit)


@pytest.mark.parametrize(
    "sort",
    [
        "",
        "-",
        "--value",
        "VALUE",
        "state; DROP TABLE trial",
        "metric:",
        'metric:a"b',
        "metric:\0",
        "metric:" + "x" * 999,
    ],
)
def test_sorts(sample: Sample, sort: str) -> None:
    with pytest.raises(UsageError, match=r"expected number, value, started|expected the path of a number"):
        results_of(sample).trials(sort=sort)


def test_json_has_no_nan_and_no_halves_of_characters() -> None:
    value = {"a": [math.nan, -math.inf, 1.5], "b\udc80": {"c": "x\ud800y"}, "d": (True, None, 3)}
    assert clean(value) == {"a": [None, None, 1.5], "b\ufffd": {"c": "x\ufffdy"}, "d": [True, None, 3]}
    json.dumps(clean(value), ensure_ascii=False, allow_nan=False).encode()


def test_what_a_trial_reported_is_cleaned(fresh: Sample) -> None:
    fresh.add(0, {"lr": math.inf, "name": "\ud800"})
    fresh.start(0)
    fresh.finish(0, TrialState.SUCCEEDED, 0.5, values={"default": 0.5, "loss": math.nan})
    text = results_of(fresh).trial(None, 0).model_dump_json()
    assert '"loss":null' in text
    assert '"lr":null' in text
