"""One trial in detail, the curves of many, and what is known of a task's model."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sample_workspace import Sample

from autoprune.errors import NotFoundError
from autoprune.records import TrialState
from autoprune.results import Results
from autoprune.results.models import Cost, LayerResult
from autoprune.results.reader import NEWEST
from autoprune.store import experiments, models

REPORT = {
    "default": 0.9,
    "parameters": 120,
    "macs": 4000,
    "bytes": 480,
    "latency_ms": 1.5,
    "sparsity": 0.7,
    "layers": {
        "conv1": {"requested": 0.75, "sparsity": 0.8, "kept": 20, "of": 100},
        "conv2": {"requested": 0.625, "sparsity": 0.6, "kept": 40, "of": 100},
        "fc": {"sparsity": 0.0, "kept": 60, "of": 60},
    },
}
PARAMETERS = {"prune_method": {"_name": "l1", "convs_sparsity": 0.75, "fc_sparsity": 0.1, "other": 3}}
FACTS: dict[str, Any] = {
    "dense": {"default": 0.95},
    "cost": {"parameters": 260},
    "groups": {
        "level": [{"name": "convs", "layers": ["fc"], "size": 1, "units": None}],
        "l1": [{"name": "convs", "layers": ["conv1", "conv2"], "size": 200, "units": 8}],
    },
    "curves": [],
    "budget": {},
    "space": {},
    "starts": [],
}


def results_of(sample: Sample) -> Results:
    return Results(sample.workspace, sample.store)


def report(sample: Sample, number: int, values: dict[str, Any]) -> None:
    sample.add(number, PARAMETERS)
    sample.start(number)
    sample.finish(number, TrialState.SUCCEEDED, 0.9, values=values)


def test_a_trial_of_a_task_tells_what_became_of_its_model(fresh: Sample) -> None:
    """As it reports that: its parameters are proportions, and ask nothing of a layer before they are scaled."""
    with fresh.store.write() as tx:
        models.save(tx, fresh.id, "key", FACTS)
    report(fresh, 0, REPORT)
    trial = results_of(fresh).trial(None, 0)
    assert trial.cost == Cost(parameters=120, macs=4000, bytes=480, latency_ms=1.5)
    assert trial.layers == [
        LayerResult(layer="conv1", requested=0.75, achieved=0.8, kept=20, of=100),
        LayerResult(layer="conv2", requested=0.625, achieved=0.6, kept=40, of=100),
        LayerResult(layer="fc", requested=None, achieved=0.0, kept=60, of=60),
    ]


def test_any_other_trial_tells_nothing_of_them(sample: Sample) -> None:
    trial = results_of(sample).trial(None, 0)
    assert trial.cost is None
    assert trial.layers is None


@pytest.mark.parametrize("layers", ["three", 3, ["a"], {"a": 0.5}, {"a": {"sparsity": "much", "kept": math.nan}}])
def test_scripts_may_mean_something_else_by_layers(fresh: Sample, layers: Any) -> None:
    report(fresh, 0, {"default": 0.9, "layers": layers, "macs": "many", "bytes": True})
    trial = results_of(fresh).trial(None, 0)
    assert trial.cost is None
    assert trial.layers in (None, [], [LayerResult(layer="a", requested=None, achieved=None, kept=None, of=None)])


def test_curves_are_of_the_last_attempt(sample: Sample) -> None:
    for attempt, value in [(0, 0.1), (1, 0.2)]:
        sample.report(3, 0, value, attempt=attempt)
    found = results_of(sample).curves()
    assert {number: [one.value for one in curve] for number, curve in found.items()} == {
        0: [0.45, 0.9],
        1: [0.475, 0.95],
        2: [0.475, 0.95],
        3: [0.2],
        4: [None],
        5: [0.99],
        7: [0.4],
    }
    assert [one.final for one in found[0]] == [False, True]
    assert list(results_of(sample).curves("digits", [2, 0, 6, 99])) == [0, 2]


def test_curves_of_the_newest_unless_some_are_named(fresh: Sample) -> None:
    for number in range(NEWEST + 5):
        fresh.add(number)
    for number in range(NEWEST + 3):
        with fresh.store.write() as tx:
            tx.exec_driver_sql(f"UPDATE trial SET attempts = 1 WHERE number = {number}")
        fresh.report(number, 0, 0.5)
    assert list(results_of(fresh).curves()) == list(range(3, NEWEST + 3))


def test_all_trials_at_once(sample: Sample) -> None:
    assert results_of(sample).all_trials() == results_of(sample).trials().items


def test_the_search_space_is_nested_as_it_was(fresh: Sample) -> None:
    assert results_of(fresh).search_space() == {}
    space = {"method": {"_type": "choice", "_value": [{"_name": "agp", "x": {"_type": "uniform", "_value": [0, 1]}}]}}
    with fresh.store.write() as tx:
        experiments.set_config(tx, fresh.id, {"searchSpace": space})
    assert results_of(fresh).search_space("digits") == space


def test_what_is_known_of_a_model(fresh: Sample) -> None:
    results = results_of(fresh)
    assert results.facts() is results.result() is None
    with fresh.store.write() as tx:
        models.save(tx, fresh.id, "key", FACTS)
    assert results.facts("digits") == FACTS
    assert results.result() is None
    with fresh.store.write() as tx:
        models.save_result(tx, fresh.id, {"trial": 3, "said": math.nan})
    assert results.result() == {"trial": 3, "said": None}


@pytest.mark.parametrize(
    "question", ["facts", "result", "curves", "all_trials", "search_space", "statistics", "importance"]
)
def test_of_no_experiment(sample: Sample, question: str) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        getattr(results_of(sample), question)("nothing")


def test_trials_in_outline_are_the_trials_but_for_what_is_large(sample: Sample) -> None:
    results = results_of(sample)
    whole = {"parameters": {}, "metrics": {}, "message": ""}
    assert results.outlines() == [trial.model_copy(update=whole) for trial in results.all_trials()]
    told = {trial.number: trial.metrics for trial in results.outlines("digits", "sparsity")}
    assert told == {number: {"sparsity": 0.8 if number < 3 or number == 5 else None} for number in range(9)}


def test_a_sample_of_the_trials_has_the_best(fresh: Sample) -> None:
    for number in range(20):
        fresh.succeed(number, 1.0 if number == 7 else number / 100, feasible=number != 4)
    fresh.add(20)
    results = results_of(fresh)
    every = [trial for trial in results.all_trials() if trial.number not in (4, 20)]
    assert results.sample_trials(most=100) == every
    some = results.sample_trials("digits", most=5)
    assert 5 <= len(some) <= 6
    assert 7 in [trial.number for trial in some]
    assert all(trial in every for trial in some)
