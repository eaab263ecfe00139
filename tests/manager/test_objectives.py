"""Several objectives in a run: results that lack one are invalid, whoever hears of them."""

from __future__ import annotations

import math

from autoprune.manager.journal import Journal
from autoprune.protocol import append_report
from autoprune.records import Trial, TrialState, timestamp

from .conftest import Lab

TUNER = {
    "name": "NSGA2",
    "classArgs": {"seed": 1, "population_size": 2, "objectives": {"latency": "minimize"}},
}
SOME_WITHOUT = """
    import autoprune
    sparsity = autoprune.get_parameters()["method"]["sparsity"]
    latency = {"latencyy": 3.0} if autoprune.get_sequence_id() == 1 else {"latency": 3.0}
    autoprune.report_final_result({"default": sparsity, **latency})
    """


def test_a_result_that_lacks_an_objective_is_invalid(lab: Lab) -> None:
    outcome, trials = lab.run(SOME_WITHOUT, tuner=TUNER, maxTrialNumber=6)
    assert outcome.code == 0
    assert [trial.state for trial in trials] == ["SUCCEEDED", "INVALID", *["SUCCEEDED"] * 4]
    assert "lacks latency, which is an objective; it reported default, latencyy" in trials[1].message
    assert [trial.tuner_state["inner"]["generation"] for trial in trials] == [0, 0, 1, 1, 2, 2]


def test_also_one_whose_end_no_manager_saw(lab: Lab) -> None:
    """It was reported, and then the manager died."""
    experiment = lab.create(SOME_WITHOUT, tuner=TUNER, maxTrialNumber=1)
    journal = Journal(lab.store, experiment.id, lambda: 0.0, lab.notices.append)
    parameters = {"method": {"_name": "agp", "sparsity": 0.5}}
    journal.trial_created(Trial(0, TrialState.WAITING, parameters, created=timestamp(0.0)))
    journal.attempt_started(0, 0)
    folder = lab.workspace.attempt(experiment.id, 0, 0)
    folder.mkdir(parents=True)
    append_report(folder, 0, {"default": 0.5, "latency": math.inf}, final=True)
    lab.drive(experiment)
    (trial,) = lab.trials(experiment)
    assert trial.state is TrialState.INVALID
    assert "expected a finite number, since latency is an objective" in trial.message


def test_an_objective_that_no_trial_reports_ends_the_experiment_early(lab: Lab) -> None:
    misspelt = {"name": "TPE", "classArgs": {"seed": 1, "objectives": {"latencyy": "minimize"}}}
    script = """
        import autoprune
        autoprune.report_intermediate_result(0.1)
        autoprune.report_final_result({"default": 0.5, "latency": 3.0})
        """
    outcome, trials = lab.run(script, tuner=misspelt, maxTrialNumber=100)
    assert (outcome.code, len(trials)) == (1, 5)
    assert "lacks latencyy" in outcome.message
    assert "did latency mean latencyy?" in outcome.message
