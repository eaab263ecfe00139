"""The loop by the simulated clock: every limit, state, command and failure."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autoprune.errors import AutopruneError, StoreError
from autoprune.records import ExperimentState, TrialState, seconds, timestamp
from autoprune.store import commands, experiments

from .conftest import Lab

QUICK = """
    import autoprune
    autoprune.report_final_result(autoprune.get_parameters()["method"]["sparsity"])
    """


def test_an_experiment_runs_to_its_limit(lab: Lab) -> None:
    outcome, trials = lab.run(maxTrialNumber=5, trialConcurrency=2)
    assert (outcome.code, outcome.state, outcome.message) == (0, ExperimentState.DONE, "maxTrialNumber reached")
    assert [trial.number for trial in trials] == list(range(5))
    for trial in trials:
        assert trial.state is TrialState.SUCCEEDED
        assert trial.value == trial.parameters["method"]["sparsity"]
        assert trial.metrics == {"default": trial.value, "twice": 2 * trial.value}
        assert seconds(trial.ended or "") - seconds(trial.started or "") == pytest.approx(180, abs=1)
    assert sorted(trial.finish_order or 0 for trial in trials) == list(range(5))
    assert [trial.known for trial in trials[:3]] == [0, 0, 1]


def test_intermediates_are_kept_in_order(lab: Lab) -> None:
    experiment = lab.create(maxTrialNumber=2)
    lab.drive(experiment)
    for trial in lab.trials(experiment):
        sparsity = trial.parameters["method"]["sparsity"]
        reports = lab.metrics(experiment, trial.number)
        expected = [sparsity / 3, sparsity * 2 / 3, sparsity, sparsity]
        assert [report.value for report in reports] == pytest.approx(expected)
        assert [report.seq for report in reports] == [0, 1, 2, 3]
        assert [report.final for report in reports] == [False, False, False, True]


def test_an_exhausted_grid_ends_the_experiment(lab: Lab) -> None:
    space = {"a": {"_type": "choice", "_value": [1, 2, 3]}, "b": {"_type": "randint", "_value": [0, 2]}}
    script = "import autoprune\nautoprune.report_final_result(sum(autoprune.get_parameters().values()))"
    outcome, trials = lab.run(script, searchSpace=space, tuner={"name": "GridSearch"}, trialConcurrency=4)
    assert outcome.code == 0
    assert outcome.message == "the search space is exhausted"
    assert sorted((trial.parameters["a"], trial.parameters["b"]) for trial in trials) == [
        (a, b) for a in (1, 2, 3) for b in (0, 1)
    ]


def test_states(lab: Lab) -> None:
    script = """
        import autoprune
        match autoprune.get_sequence_id():
            case 0: autoprune.report_final_result(1.0); raise SystemExit(3)
            case 1: raise ValueError("no luck")
            case 2: pass
            case 3: autoprune.report_final_result(float("nan"))
            case 4: autoprune.report_final_result(2.0); autoprune.report_final_result(9.0)
        """
    outcome, trials = lab.run(script, maxTrialNumber=5)
    assert outcome.code == 0
    assert [trial.state for trial in trials] == ["SUCCEEDED", "FAILED", "INVALID", "INVALID", "SUCCEEDED"]
    assert trials[0].message == "exit code 3 after the final result"
    assert trials[1].message == "exit code 1: ValueError: no luck"
    assert "report_final_result" in trials[2].message
    assert "not a finite number" in trials[3].message
    assert trials[4].value == 2.0
    assert any("first one counts" in notice["message"] for notice in lab.events("warning"))


def test_a_crash_before_asking_for_parameters_shifts_nothing(lab: Lab) -> None:
    script = """
        import autoprune
        if autoprune.get_sequence_id() in (0, 3):
            raise RuntimeError("before asking")
        autoprune.report_final_result(autoprune.get_parameters()["method"]["sparsity"])
        """
    _, trials = lab.run(script, maxTrialNumber=8, trialConcurrency=3)
    for trial in trials:
        if trial.number in (0, 3):
            assert trial.state is TrialState.FAILED
        else:
            assert trial.value == trial.parameters["method"]["sparsity"]


def test_no_success_is_exit_code_1(lab: Lab) -> None:
    outcome, _ = lab.run("raise SystemExit(2)", maxTrialNumber=2)
    assert (outcome.code, outcome.state) == (1, ExperimentState.DONE)
    assert "no trial succeeded" in outcome.message


def test_five_silent_failures_stop_the_run_with_their_cause(lab: Lab) -> None:
    outcome, trials = lab.run("import no_such_module", maxTrialNumber=100)
    assert (outcome.code, outcome.state) == (1, ExperimentState.FAILED)
    assert len(trials) == 5
    assert "No module named 'no_such_module'" in outcome.message
    assert "stderr" in outcome.message


def test_failures_that_report_do_not_stop_the_run(lab: Lab) -> None:
    script = "import autoprune\nautoprune.report_intermediate_result(1)\nraise ValueError"
    outcome, trials = lab.run(script, maxTrialNumber=7)
    assert len(trials) == 7
    assert outcome.code == 1


def test_retries(lab: Lab) -> None:
    script = """
        import autoprune
        marker = autoprune.get_output_dir() / "tries"
        tries = len(marker.read_text()) if marker.exists() else 0
        marker.write_text("x" * (tries + 1))
        if tries < autoprune.get_sequence_id():
            raise ValueError("not yet")
        autoprune.report_final_result(autoprune.get_parameters()["method"]["sparsity"])
        """
    _, trials = lab.run(script, maxTrialNumber=3, maxTrialRetries=1)
    assert [trial.state for trial in trials] == ["SUCCEEDED", "SUCCEEDED", "FAILED"]
    assert [trial.attempts for trial in trials] == [1, 2, 2]


def test_more_retries_than_silent_failures(lab: Lab) -> None:
    script = """
        import autoprune
        marker = autoprune.get_output_dir() / "tries"
        tries = len(marker.read_text()) if marker.exists() else 0
        marker.write_text("x" * (tries + 1))
        if tries < 6:
            raise ValueError("not yet")
        autoprune.report_final_result(1.0)
        """
    outcome, trials = lab.run(script, maxTrialNumber=2, maxTrialRetries=8)
    assert outcome.code == 0
    assert [(trial.state, trial.attempts) for trial in trials] == [("SUCCEEDED", 7)] * 2


def test_a_listener_that_fails_costs_nothing(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=3)

    def broken(notice: dict[str, object]) -> None:
        raise BrokenPipeError

    assert lab.drive(experiment, broken).code == 0
    assert len(lab.trials(experiment)) == 3


def test_max_trial_duration(lab: Lab) -> None:
    script = """
        import time, autoprune
        if autoprune.get_sequence_id() == 1:
            autoprune.report_final_result(1.0)
        time.sleep(1000)
        """
    outcome, trials = lab.run(script, maxTrialNumber=2, maxTrialDuration="100s", maxTrialRetries=3)
    assert trials[0].state is TrialState.FAILED
    assert "maxTrialDuration" in trials[0].message
    assert seconds(trials[0].ended or "") - seconds(trials[0].started or "") == pytest.approx(100, abs=1)
    assert trials[1].state is TrialState.SUCCEEDED
    assert "maxTrialDuration" in trials[1].message
    assert outcome.code == 0


def test_max_experiment_duration(lab: Lab) -> None:
    outcome, trials = lab.run(maxExperimentDuration="10m", trialConcurrency=2)
    assert (outcome.code, outcome.state) == (0, ExperimentState.DONE)
    assert "maxExperimentDuration" in outcome.message
    assert [trial.state for trial in trials] == ["SUCCEEDED"] * 6 + ["USER_CANCELED"] * 2


def test_the_duration_counts_all_managers(lab: Lab) -> None:
    experiment = lab.create(maxExperimentDuration="10m")
    with lab.store.write() as tx:
        experiments.set_active_seconds(tx, experiment.id, 400.0)
    lab.drive(experiment)
    assert [trial.state for trial in lab.trials(experiment)] == ["SUCCEEDED", "USER_CANCELED"]


def test_the_assessor_stops_the_bad(lab: Lab) -> None:
    script = """
        import time, autoprune
        good = autoprune.get_sequence_id() < 3
        for step in range(10):
            time.sleep(60)
            autoprune.report_intermediate_result(1.0 if good else 0.1)
        autoprune.report_final_result(1.0 if good else 99.0)
        """
    experiment = lab.create(script, maxTrialNumber=4, assessor={"name": "Medianstop"})
    lab.drive(experiment)
    *good, bad = lab.trials(experiment)
    assert all(trial.state is TrialState.SUCCEEDED for trial in good)
    assert (bad.state, bad.value) == (TrialState.EARLY_STOPPED, 0.1)
    assert bad.message
    assert len(lab.metrics(experiment, 3)) < 10


def send(lab: Lab, experiment: str, kind: str, **data: object) -> int:
    with lab.store.write() as tx:
        return commands.send(tx, experiment, kind, data, timestamp(time.time()))


def answer(lab: Lab, command: int) -> str | None:
    with lab.store.read() as tx:
        return commands.get(tx, command).answer


def test_commands(lab: Lab) -> None:
    experiment = lab.create()
    sent: dict[str, int] = {}

    def listener(notice: dict[str, object]) -> None:
        if notice["event"] == "intermediate_result" and "kill" not in sent:
            sent["kill"] = send(lab, experiment.id, "kill", trial=0)
            sent["late"] = send(lab, experiment.id, "kill", trial=77)
            sent["odd"] = send(lab, experiment.id, "dance")
        if notice["event"] == "trial_ended" and notice["trial"] == 2:
            sent["stop"] = send(lab, experiment.id, "stop")

    outcome = lab.drive(experiment, listener)
    assert (outcome.code, outcome.state, outcome.message) == (0, ExperimentState.STOPPED, "stopped by command")
    trials = lab.trials(experiment)
    assert trials[0].state is TrialState.USER_CANCELED
    assert [trial.state for trial in trials[1:3]] == ["SUCCEEDED"] * 2
    assert all(trial.state is TrialState.WAITING for trial in trials[3:])
    assert answer(lab, sent["kill"]) == answer(lab, sent["stop"]) == ""
    assert answer(lab, sent["late"]) == "trial 77 is not running"
    assert "dance" in (answer(lab, sent["odd"]) or "")


def test_a_stopped_experiment_goes_on_as_if_it_had_not_stopped(lab: Lab) -> None:
    reference = lab.create(QUICK, maxTrialNumber=6)
    lab.drive(reference)
    stopped = lab.create(QUICK, maxTrialNumber=6)
    count = 0

    def stop_at_the_third(notice: dict[str, object]) -> None:
        nonlocal count
        count += notice["event"] == "trial_started"
        if count == 3 and notice["event"] == "trial_started":
            send(lab, stopped.id, "stop")

    assert lab.drive(stopped, stop_at_the_third).state is ExperimentState.STOPPED
    assert lab.drive(stopped).state is ExperimentState.DONE
    expected, got = lab.trials(reference), lab.trials(stopped)
    assert [trial.parameters for trial in got] == [trial.parameters for trial in expected]
    assert [trial.value for trial in got] == [trial.value for trial in expected]


def test_commands_to_a_dead_manager_are_refused_by_the_next(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=1)
    command = send(lab, experiment.id, "stop")
    assert lab.drive(experiment).state is ExperimentState.DONE
    assert answer(lab, command) == "the manager it was sent to is gone"


def test_attempts_leave_their_files(lab: Lab, tmp_path: Path) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=1)
    lab.drive(experiment)
    folder = lab.workspace.attempt(experiment.id, 0, 0)
    names = {path.name for path in folder.iterdir()}
    assert names == {"parameters.json", "metrics.jsonl", "stdout", "stderr", "exit.json"}
    assert lab.workspace.output(experiment.id, 0).is_dir()


def test_a_trial_that_cannot_be_started_ends_the_run_and_is_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("autoprune.runners.debug.write_inputs", full)
        with pytest.raises(AutopruneError, match=r"trial 0 cannot be started.*No space left"):
            lab.drive(experiment)
    with lab.store.read() as tx:
        assert experiments.get(tx, experiment.id).state is ExperimentState.FAILED
    assert [trial.state for trial in lab.trials(experiment)] == ["WAITING"]
    assert lab.drive(experiment).code == 0
    assert [(trial.state, trial.attempts) for trial in lab.trials(experiment)] == [
        ("SUCCEEDED", 2),
        ("SUCCEEDED", 1),
        ("SUCCEEDED", 1),
    ]


def test_a_database_that_cannot_be_written_ends_the_run_and_loses_nothing(lab: Lab) -> None:
    experiment = lab.create(QUICK, maxTrialNumber=3)

    def fill_up(notice: dict[str, object]) -> None:
        if notice["event"] == "trial_ended":
            with lab.store.write() as tx:
                tx.exec_driver_sql(
                    "CREATE TRIGGER full BEFORE INSERT ON trial BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"
                )

    with pytest.raises(StoreError, match="the disk is full"):
        lab.drive(experiment, fill_up)
    with lab.store.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER full")
    assert lab.drive(experiment).code == 0
    assert all(trial.state is TrialState.SUCCEEDED for trial in lab.trials(experiment))


def test_an_exception_group_is_told_by_its_last_exception(lab: Lab) -> None:
    script = "import autoprune\nraise ExceptionGroup('several', [ValueError('one'), TypeError('two')])\n"
    _, trials = lab.run(script, maxTrialNumber=1)
    assert trials[0].message == "exit code 1: TypeError: two"
