"""Bounds on numbers of the result: who breaks them, what becomes of such a trial, and what tuners hear."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.config import ExperimentConfig
from autoprune.config.search import Bounds
from autoprune.manager.constraints import Penalty, nearest, violations
from autoprune.manager.journal import Journal
from autoprune.protocol import append_report
from autoprune.records import ExperimentState, Trial, TrialState, timestamp
from autoprune.results import Results

from .conftest import SPACE, Lab
from .test_changes import change, own_tuner, result

MACS = {"macs": {"max": 100}}
HEAVY = """
    import autoprune
    sparsity = autoprune.get_parameters()["method"]["sparsity"]
    autoprune.report_final_result({"default": 1 - sparsity, "macs": round(200 * (1 - sparsity), 3)})
    """


@pytest.mark.parametrize(
    ("values", "bounds", "said", "share"),
    [
        ({"macs": 100}, Bounds(max=100), None, 0),
        ({"macs": 120}, Bounds(max=100), "macs is 120, above 100 by 20", 0.2),
        ({"macs": 30.0}, Bounds(min=40, max=100), "macs is 30, below 40 by 10", 0.25),
        ({"macs": 0.5}, Bounds(max=0), "macs is 0.5, above 0 by 0.5", 0.5),
        ({"macss": 1}, Bounds(max=100), "macs is not in its final result (did macss mean macs?)", math.inf),
        ({"macs": "many"}, Bounds(max=100), "macs is 'many', not a finite number", math.inf),
        ({"macs": None}, Bounds(min=1), "macs is None, not a finite number", math.inf),
    ],
)
def test_what_is_broken_and_by_how_much(values: dict[str, Any], bounds: Bounds, said: str | None, share: float) -> None:
    found = violations({"default": 0.5, **values}, {"macs": bounds})
    assert [str(violation) for violation in found] == ([] if said is None else [said])
    assert sum(violation.share for violation in found) == pytest.approx(share)


def test_a_trial_that_breaks_a_constraint_succeeds_and_is_never_the_best(lab: Lab) -> None:
    experiment = lab.create(HEAVY, constraints=MACS, maxTrialNumber=12)
    assert lab.drive(experiment).code == 0
    every = lab.trials(experiment)
    assert all(trial.state is TrialState.SUCCEEDED for trial in every)
    assert {trial.feasible for trial in every} == {True, False}
    for trial in every:
        over = trial.metrics["macs"] - 100
        assert trial.feasible == (over <= 0)
        assert trial.message == ("" if over <= 0 else f"not feasible: {violations(trial.metrics, BOUNDS)[0]}")
    best = Results(lab.workspace, lab.store).best(experiment.id)
    assert best.value == max(trial.value or 0 for trial in every if trial.feasible)
    assert [trial.number for trial in Results(lab.workspace, lab.store).pareto(experiment.id).items] == [best.number]
    told = {notice["trial"]: notice.get("feasible", True) for notice in lab.events("trial_ended")}
    assert told == {trial.number: trial.feasible for trial in every}


BOUNDS = {"macs": Bounds(max=100)}


@pytest.mark.parametrize("limit", [{"maxTrialNumber": 3}, {"maxExperimentDuration": "150s"}])
def test_exit_code_3_names_the_nearest_where_none_is_feasible(lab: Lab, limit: dict[str, Any]) -> None:
    script = HEAVY.replace("import autoprune", "import time, autoprune; time.sleep(60)", 1)
    outcome, trials = lab.run(script, constraints={"macs": {"max": 1}, "default": {"min": -1}}, **limit)
    assert (outcome.code, outcome.state) == (3, ExperimentState.DONE)
    ended = [trial for trial in trials if trial.state is TrialState.SUCCEEDED]
    least = min(ended, key=lambda trial: trial.metrics["macs"])
    over = least.metrics["macs"] - 1
    expected = f"the nearest is trial {least.number}: macs is {least.metrics['macs']:.6g}, above 1 by {over:.6g}"
    assert f"no trial is feasible; {expected}" in outcome.message


def test_no_success_is_still_exit_code_1(lab: Lab) -> None:
    outcome, _ = lab.run("raise ValueError", constraints=MACS, maxTrialNumber=2)
    assert outcome.code == 1


def test_one_that_lacks_the_number_is_not_feasible(lab: Lab) -> None:
    script = 'import autoprune\nautoprune.report_final_result({"default": 0.5, "mac": 3})'
    outcome, (trial,) = lab.run(script, constraints=MACS, maxTrialNumber=1)
    assert outcome.code == 3
    assert not trial.feasible
    assert trial.message == "not feasible: macs is not in its final result (did mac mean macs?)"


def test_a_crash_after_an_infeasible_result_says_both(lab: Lab) -> None:
    script = 'import autoprune\nautoprune.report_final_result({"default": 0.5, "macs": 101})\nraise SystemExit(3)'
    _, (trial,) = lab.run(script, constraints=MACS, maxTrialNumber=1)
    assert trial.message == "not feasible: macs is 101, above 100 by 1; exit code 3 after the final result"


def test_a_result_that_no_manager_saw_is_judged_all_the_same(lab: Lab) -> None:
    experiment = lab.create(HEAVY, constraints=MACS, maxTrialNumber=1)
    journal = Journal(lab.store, experiment.id, lambda: 0.0, lab.notices.append)
    parameters = {"method": {"_name": "agp", "sparsity": 0.5}}
    journal.trial_created(Trial(0, TrialState.WAITING, parameters, created=timestamp(0.0)))
    journal.attempt_started(0, 0)
    folder = lab.workspace.attempt(experiment.id, 0, 0)
    folder.mkdir(parents=True)
    append_report(folder, 0, {"default": 0.5, "macs": 150}, final=True)
    assert lab.drive(experiment).code == 3
    assert [trial.feasible for trial in lab.trials(experiment)] == [False]


def test_imported_results_are_judged_by_the_constraints_here(lab: Lab) -> None:
    experiment = lab.create(HEAVY, constraints=MACS)
    heavy, light = result(0.2, 0.9), result(0.3, 0.8)
    heavy["metrics"]["macs"], light["metrics"]["macs"] = 101, 99
    change(lab, experiment, "import", file="other.json", trials=[heavy, light])
    assert [trial.feasible for trial in lab.trials(experiment)] == [False, True]
    assert Results(lab.workspace, lab.store).best(experiment.id).number == 1


def test_the_nearest_breaks_the_least_in_all() -> None:
    bounds = {"macs": Bounds(max=100), "default": Bounds(min=0.5)}
    trials = [
        Trial(0, TrialState.SUCCEEDED, {}, 0.1, {"default": 0.1, "macs": 100}),
        Trial(1, TrialState.SUCCEEDED, {}, 0.4, {"default": 0.4, "macs": 120}),
        Trial(2, TrialState.SUCCEEDED, {}, 0.9, {"default": 0.9}),
        Trial(3, TrialState.FAILED, {}),
    ]
    assert nearest(trials, bounds) == "trial 1: macs is 120, above 100 by 20; default is 0.4, below 0.5 by 0.1"
    assert nearest(trials[3:], bounds) == ""


def configured(mode: str, **arguments: Any) -> ExperimentConfig:
    tuner = {"name": "TPE", "classArgs": {"optimize_mode": mode, **arguments}}
    base = {"experimentName": "a", "searchSpace": SPACE, "trialCommand": "x", "trialCodeDirectory": "/"}
    return ExperimentConfig.from_json({**base, "tuner": tuner, "constraints": MACS})


def ended(number: int, value: float, macs: float) -> Trial:
    metrics = {"default": value, "macs": macs}
    return Trial(number, TrialState.SUCCEEDED, {}, value, metrics, feasible=macs <= 100)


@given(
    st.sampled_from(["maximize", "minimize"]),
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1e4)), min_size=1, max_size=20),
)
def test_a_tuner_hears_debs_rule(mode: str, results: list[tuple[float, float]]) -> None:
    """Infeasible trials come behind every feasible one before them; those that break less come first."""
    penalty = Penalty(configured(mode))
    sign = -1 if mode == "maximize" else 1
    feasible: list[float] = []
    for number, (value, macs) in enumerate(results):
        trial = ended(number, value, macs)
        heard = penalty.heard(trial)
        if trial.feasible:
            assert heard == trial
            feasible.append(value)
        elif not feasible:
            assert (heard.state, heard.value) == (TrialState.INVALID, None)
        else:
            assert heard.value is not None
            worst, best = max(sign * one for one in feasible), min(sign * one for one in feasible)
            least = worst if best < worst else worst + (abs(worst) / 10 or 0.1)
            assert best < sign * heard.value
            assert least <= sign * heard.value <= least + (least - best) + 1e-9
            assert heard.metrics["default"] == heard.value
            further = penalty.heard(ended(number, value, macs + 50))
            assert sign * (further.value or 0) >= sign * heard.value


@pytest.mark.parametrize(("mode", "value", "heard"), [("maximize", 0.9, 0.765), ("minimize", 2.0, 2.3)])
def test_behind_the_only_feasible_value_too(mode: str, value: float, heard: float) -> None:
    """As if one were a tenth worse, and half of that more for breaking the bound by all of itself."""
    penalty = Penalty(configured(mode))
    for number in range(2):
        penalty.heard(ended(number, value, 100))
    assert penalty.heard(ended(2, 0.99, 200)).value == pytest.approx(heard)


def test_every_objective_of_an_infeasible_trial_is_worse() -> None:
    penalty = Penalty(configured("maximize", objectives={"macs": "minimize"}))
    for trial in (ended(0, 0.9, 90), ended(1, 0.5, 40)):
        assert penalty.heard(trial) == trial
    heard = penalty.heard(ended(2, 0.99, 200))
    assert heard.metrics["default"] == pytest.approx(0.5 - 0.4 / 2)
    assert heard.metrics["macs"] == pytest.approx(90 + 50 / 2)


def test_values_at_the_end_of_floats_stay_finite() -> None:
    penalty = Penalty(configured("maximize"))
    for trial in (ended(0, 1e308, 1), ended(1, -1e308, 1)):
        penalty.heard(trial)
    assert penalty.heard(ended(2, 0.0, 1e300)).value == -1e308


def test_the_tuner_hears_it_in_a_run(lab: Lab) -> None:
    """This tuner adds up what it is told: 50 at first, then no more than the worst, 50, for one that is infeasible."""
    script = 'import autoprune\nautoprune.report_final_result({"default": 50.0, "macs": MACS})'
    for macs, sparsity in ((100, 0.6), (101, 0.1)):
        experiment = lab.create(
            script.replace("MACS", str(macs)), constraints=MACS, maxTrialNumber=2, tuner=own_tuner(lab)
        )
        lab.drive(experiment)
        later = lab.trials(experiment)[1].parameters["method"]["sparsity"]
        assert sparsity <= later < sparsity + 0.5
    assert later < 0.6, "before anything is feasible, an infeasible result is none"
