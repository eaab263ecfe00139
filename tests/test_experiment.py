"""`autoprune.Experiment`: experiments from Python, in this thread, another one, and processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import autoprune
from autoprune.errors import ConfigError, LockedError, NotFoundError, UsageError
from autoprune.records import ExperimentState, TrialState

QUICK = """
    import autoprune
    autoprune.report_intermediate_result(0.1)
    autoprune.report_final_result({"default": autoprune.get_parameters()["x"], "sparsity": 0.8})
    """
SLOW = """
    import time, autoprune
    autoprune.report_intermediate_result(0.1)
    time.sleep(1000)
    """
CONFIG: dict[str, Any] = {
    "experiment_name": "from python",
    "search_space": {"x": {"_type": "uniform", "_value": [0, 1]}},
    "trial_command": "python trial.py",
    "maxTrialNumber": 3,
    "tuner": {"name": "Random", "class_args": {"seed": 1}},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a trial script in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOPRUNE_WORKSPACE", raising=False)
    write(QUICK)
    return tmp_path


@pytest.fixture
def begun() -> Iterator[list[autoprune.Experiment]]:
    """Experiments to stop at the end, however the test ends."""
    experiments: list[autoprune.Experiment] = []
    yield experiments
    for experiment in experiments:
        experiment.stop()


def write(script: str) -> None:
    Path("trial.py").write_text(dedent(script))


def python(script: str) -> subprocess.CompletedProcess[str]:
    Path("script.py").write_text(dedent(script))
    command = [sys.executable, "-W", "error", "script.py"]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_run_to_the_end() -> None:
    experiment = autoprune.Experiment(CONFIG)
    assert repr(experiment) == "<Experiment 'from python', not begun>"
    events: list[dict[str, Any]] = []
    status = experiment.run(on_event=events.append)
    assert status.state is ExperimentState.DONE
    assert status.trials == {TrialState.SUCCEEDED: 3}
    assert str(status.trials) == "{'SUCCEEDED': 3}"
    assert status == experiment.status
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1], kinds.count("final_result")) == ("experiment_started", "experiment_ended", 3)
    best = experiment.best()
    assert best is not None
    assert best.value == max(trial.value or 0 for trial in experiment.trials()) == best.parameters["x"]
    assert experiment.folder == Path("autoprune-experiments").absolute() / experiment.id
    assert (
        repr(experiment) == f"<Experiment {experiment.id}: DONE, 3 trials, best {best.value:g} of trial {best.number}>"
    )


def test_a_file_is_the_same_as_a_dict() -> None:
    Path("config.json").write_text(json.dumps(CONFIG))
    of_file, of_dict = autoprune.Experiment("config.json"), autoprune.Experiment(CONFIG)
    of_file.run()
    of_dict.run()
    assert [trial.parameters for trial in of_file.trials()] == [trial.parameters for trial in of_dict.trials()]
    assert of_file.status.config == of_dict.status.config
    assert of_file.id != of_dict.id


def test_trials_are_filtered_sorted_and_cut() -> None:
    experiment = autoprune.Experiment(CONFIG)
    experiment.run()
    values = [trial.value or 0 for trial in experiment.trials()]
    assert [trial.value for trial in experiment.trials(sort="-value", limit=2)] == sorted(values, reverse=True)[:2]
    assert experiment.trials(states=["FAILED"]) == []
    with pytest.raises(UsageError, match="given the state 'BROKEN'; expected one of WAITING"):
        experiment.trials(states=["BROKEN"])


def test_export_data_has_nnis_shape() -> None:
    experiment = autoprune.Experiment({**CONFIG, "maxTrialNumber": 1})
    experiment.run()
    x = experiment.trials()[0].parameters["x"]
    assert experiment.export_data() == [{"parameter": {"x": x}, "value": {"default": x, "sparsity": 0.8}, "id": 0}]
    write("import autoprune\nautoprune.report_final_result(0.5)")
    plain = autoprune.Experiment({**CONFIG, "maxTrialNumber": 1})
    plain.run()
    assert [result["value"] for result in plain.export_data()] == [0.5]


def test_everything_wrong_with_a_dict_is_said_at_once() -> None:
    wrong = {**CONFIG, "trialComand": "x", "max_trial_number": 4, "tunerTimeout": {1, 2}}
    with pytest.raises(ConfigError) as caught:
        autoprune.Experiment(wrong)
    assert sorted(problem.path for problem in caught.value.problems)[:3] == [
        "max_trial_number",
        "trialComand",
        "tunerTimeout",
    ]
    assert "configuration: trialComand: given an unknown field" in str(caught.value)
    assert "{1, 2} (set)" in str(caught.value)
    assert "line 0" not in str(caught.value)


def test_paths_and_numbers_of_numpy_are_taken_as_they_are_meant(here: Path) -> None:
    space = {"x": {"_type": "choice", "_value": np.arange(3)}}
    experiment = autoprune.Experiment(
        {**CONFIG, "search_space": space, "maxTrialNumber": np.int64(1), "trialCodeDirectory": here},
        workspace=here / "elsewhere",
    )
    status = experiment.run()
    assert status.config["searchSpace"] == {"x": {"_type": "choice", "_value": [0, 1, 2]}}
    assert status.limits.maxTrialNumber == 1
    assert (here / "elsewhere" / experiment.id).is_dir()


def test_what_cannot_run_here_is_refused_before_there_is_an_experiment(here: Path) -> None:
    experiment = autoprune.Experiment({**CONFIG, "trialGpuNumber": 1000})
    with pytest.raises(UsageError, match="trialGpuNumber"):
        experiment.run()
    for ask in (experiment.trials, experiment.best, experiment.stop, experiment.wait, lambda: experiment.folder):
        with pytest.raises(UsageError, match=r"call run\(\) or start\(\)"):
            ask()
    assert not (here / "autoprune-experiments").exists()
    with pytest.raises(UsageError, match="no experiments in"):
        autoprune.Experiment.connect()


def test_fields_that_are_not_used_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="authorName is not used"):
        autoprune.Experiment({**CONFIG, "authorName": "me"})


def test_run_again_goes_on_and_a_finished_one_stays_as_it_is() -> None:
    experiment = autoprune.Experiment(CONFIG)

    def stop_early(event: dict[str, Any]) -> None:
        if event["event"] == "trial_ended":
            experiment.stop()

    assert experiment.run(on_event=stop_early).state is ExperimentState.STOPPED
    ended = [trial.number for trial in experiment.trials(states=[TrialState.SUCCEEDED])]
    assert len(ended) < 3
    events: list[str] = []
    done = experiment.resume(on_event=lambda event: events.append(event["event"]))
    assert events[0] == "experiment_resumed"
    assert (done.state, done.trials) == (ExperimentState.DONE, {TrialState.SUCCEEDED: 3})
    assert experiment.run() == done
    with pytest.raises(UsageError, match="has not begun"):
        autoprune.Experiment(CONFIG).resume()
    experiment.start()
    assert experiment.wait() == done


def test_connect_finds_an_experiment_by_its_beginning_or_the_newest() -> None:
    experiment = autoprune.Experiment(CONFIG)
    experiment.run()
    for found in (autoprune.Experiment.connect(experiment.id[:-2]), autoprune.Experiment.connect()):
        assert (found.id, found.status, repr(found)) == (experiment.id, experiment.status, repr(experiment))
    with pytest.raises(NotFoundError, match="begins with 'nothing-like-it'"):
        autoprune.Experiment.connect("nothing-like-it")


def test_an_experiment_that_was_deleted_can_still_be_printed() -> None:
    experiment = autoprune.Experiment({**CONFIG, "maxTrialNumber": 1})
    experiment.run()
    shutil.rmtree(experiment.folder.parent)
    assert repr(experiment) == f"<Experiment {experiment.id}, whose results cannot be read>"
    with pytest.raises(UsageError, match="no experiments in"):
        experiment.run()


def test_run_in_a_thread_and_stop_it_from_here() -> None:
    write(SLOW)
    experiment = autoprune.Experiment(CONFIG)
    reported = threading.Event()
    statuses = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "intermediate_result":
            reported.set()

    thread = threading.Thread(target=lambda: statuses.append(experiment.run(on_event=listen)))
    thread.start()
    assert reported.wait(60)
    assert experiment.status.state is ExperimentState.RUNNING
    with pytest.raises(LockedError):
        experiment.run()
    with pytest.raises(LockedError):
        autoprune.Experiment.connect(experiment.id).start()
    experiment.stop()
    thread.join()
    assert [status.state for status in statuses] == [ExperimentState.STOPPED]
    assert experiment.status.trials == {TrialState.WAITING: 1}


def test_start_wait_and_stop(begun: list[autoprune.Experiment]) -> None:
    write(SLOW)
    experiment = autoprune.Experiment(CONFIG)
    experiment.start()
    begun.append(experiment)
    assert experiment.status.state is ExperimentState.RUNNING
    with pytest.raises(TimeoutError, match=experiment.id):
        experiment.wait(timeout=0)
    autoprune.Experiment.connect().stop()
    assert experiment.wait().state is ExperimentState.STOPPED
    experiment.start()
    assert experiment.status.state is ExperimentState.RUNNING
    experiment.stop()
    write(QUICK)
    assert experiment.run().state is ExperimentState.DONE


def test_start_survives_the_end_of_the_script(begun: list[autoprune.Experiment], here: Path) -> None:
    write("import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n" + dedent(QUICK))
    result = python(
        f"import autoprune\nexperiment = autoprune.Experiment({CONFIG!r})\nexperiment.start()\nprint(experiment.id)"
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    experiment = autoprune.Experiment.connect(result.stdout.strip())
    begun.append(experiment)
    assert experiment.status.state is ExperimentState.RUNNING
    (here / "go").touch()
    assert experiment.wait().state is ExperimentState.DONE


@pytest.mark.parametrize("guard", ["if __name__ == '__main__':", "if True:"])
def test_scripts_need_no_guard(guard: str) -> None:
    result = python(f"import autoprune\n{guard}\n    print(autoprune.Experiment({CONFIG!r}).run().state)")
    assert (result.stdout, result.stderr, result.returncode) == ("DONE\n", "", 0)


def test_ctrl_c_leaves_everything_in_order_and_interrupts() -> None:
    write(SLOW)
    result = python(f"""
        import os, signal, autoprune

        def interrupt(event):
            if event["event"] == "intermediate_result":
                os.kill(os.getpid(), signal.SIGINT)

        experiment = autoprune.Experiment({CONFIG!r})
        try:
            experiment.run(on_event=interrupt)
        except KeyboardInterrupt:
            print(experiment.status.state, dict(experiment.status.trials))
        """)
    assert result.stderr == ""
    assert "STOPPED" in result.stdout
    assert "WAITING" in result.stdout
    write(QUICK)
    assert autoprune.Experiment.connect().run().trials == {TrialState.SUCCEEDED: 3}


def test_a_process_asked_to_end_ends_by_that_signal() -> None:
    write(SLOW)
    result = python(f"""
        import os, signal, autoprune

        def end(event):
            if event["event"] == "intermediate_result":
                os.kill(os.getpid(), signal.SIGTERM)

        autoprune.Experiment({CONFIG!r}).run(on_event=end)
        print("not reached")
        """)
    assert (result.returncode, result.stdout) == (-15, "")
    assert autoprune.Experiment.connect().status.state is ExperimentState.STOPPED


def test_stop_ends_what_a_dead_manager_left() -> None:
    write(SLOW)
    result = python(f"""
        import os, signal, autoprune

        def die(event):
            if event["event"] == "intermediate_result":
                os.kill(os.getpid(), signal.SIGKILL)

        autoprune.Experiment({CONFIG!r}).run(on_event=die)
        """)
    assert result.returncode == -9
    experiment = autoprune.Experiment.connect()
    assert experiment.wait().state is ExperimentState.INTERRUPTED
    experiment.stop()
    assert experiment.status.state is ExperimentState.STOPPED
    experiment.stop()


def test_importing_autoprune_imports_nothing_of_it() -> None:
    code = "import sys, autoprune; print([name in sys.modules for name in ('sqlalchemy', 'pydantic', 'click')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[False, False, False]\n"
    assert "Experiment" in dir(autoprune)
