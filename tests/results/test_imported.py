"""Trials that ran elsewhere, in the list of experiments and in the progress of one."""

from __future__ import annotations

from sample_workspace import Sample, clock

from autoprune.records import Trial, TrialState
from autoprune.results import Results
from autoprune.store import trials


def test_they_are_told_apart_from_those_that_ran_here(sample: Sample) -> None:
    results = Results(sample.workspace, sample.store)
    assert results.experiment().imported == 0
    arrived = [
        Trial(number, TrialState.SUCCEEDED, {}, 0.1, {"default": 0.1}, clock(30), finish_order=number)
        for number in (9, 10)
    ]
    with sample.store.write() as tx:
        trials.create_all(tx, sample.id, arrived)
    sample.create("other-300131-abcd", created=clock(40))
    found = {experiment.name + experiment.id[:5]: experiment.imported for experiment in results.experiments().items}
    assert found == {"digitsother": 0, "digitsdigit": 2}
    detail, statistics = results.experiment(sample.id), results.statistics(sample.id)
    assert (detail.imported, statistics.imported) == (2, 2)
    assert detail.trials[TrialState.SUCCEEDED] == 5, "they are among those that succeeded"
    assert [trial.duration for trial in results.all_trials(sample.id)[9:]] == [None, None]
