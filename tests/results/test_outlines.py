"""Many trials at once: all of them in short, or some of them whole."""

from __future__ import annotations

import pytest
from sample_workspace import Sample

from autoprune.records import TrialState
from autoprune.results import Results


def test_all_trials_in_short(sample: Sample) -> None:
    results = Results(sample.workspace, sample.store)
    short, whole = results.outlines(), results.all_trials()
    assert [trial.number for trial in short] == list(range(9))
    left_out = {"parameters": {}, "metrics": {}, "message": ""}
    assert short == [trial.model_copy(update=left_out) for trial in whole]


def test_with_one_number_of_their_reports(sample: Sample) -> None:
    sample.add(9)
    sample.start(9)
    sample.finish(9, TrialState.SUCCEEDED, 0.5, values={"default": 0.5, "sparsity": "most"})
    told = [trial.metrics for trial in Results(sample.workspace, sample.store).outlines(metric="sparsity")]
    assert told[0] == {"sparsity": 0.8}
    assert told[8] == {"sparsity": None}
    assert told[9] == {"sparsity": None}, "that is no number"


def test_a_sample_has_the_best_and_no_more_than_was_asked_for(fresh: Sample) -> None:
    for number in range(20):
        fresh.succeed(number, 0.9 if number == 7 else 0.5, {"x": number}, feasible=number != 12)
    fresh.add(20)
    results = Results(fresh.workspace, fresh.store)
    every = results.sample_trials(most=100)
    assert [trial.number for trial in every] == [number for number in range(20) if number != 12]
    assert every == [trial for trial in results.all_trials() if trial.feasible and trial.value is not None]
    some = [trial.number for trial in results.sample_trials(most=5)]
    assert 7 in some
    assert len(some) <= 6


@pytest.mark.parametrize("written", ["1e999", "-1e999", "NaN", '"0.5"', "true", "null", "[1]", "1" + "0" * 400])
def test_a_metric_that_no_number_can_hold_is_none(sample: Sample, written: str) -> None:
    sample.add(9)
    sample.start(9)
    sample.finish(9, TrialState.SUCCEEDED, 0.5, values={"default": 0.5, "sparsity": 0.5})
    with sample.store.write() as tx:
        report = f'{{"default": 0.5, "sparsity": {written}}}'
        tx.exec_driver_sql("UPDATE trial SET metrics = ? WHERE number = 9", (report,))
    results = Results(sample.workspace, sample.store)
    assert results.outlines(metric="sparsity")[9].metrics == {"sparsity": None}
    for sort in ("metric:sparsity", "-metric:sparsity"):
        numbers = [trial.number for trial in results.trials(sort=sort).items]
        assert numbers[:3] == [0, 1, 2]
        assert numbers.index(9) > numbers.index(5)
