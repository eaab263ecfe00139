"""`run`, `resume`, `stop`, `trial kill`, `delete`, `validate` and `schema`, as real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest

from autoprune.store import Workspace

from .conftest import QUICK, SLOW, Autoprune


def test_run_in_words(config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path) -> None:
    result = autoprune("run", str(config()))
    assert result.returncode == 0, result.stderr
    assert "results at http://127.0.0.1:" in result.stderr
    assert "trial 2 SUCCEEDED" in result.stderr
    first, best, *_ = result.stdout.splitlines()
    assert first.startswith("small-search-")
    assert "maxTrialNumber reached" in first
    assert best.startswith("best: trial ")
    assert "sparsity=0.8" in best
    assert (tmp_path / "autoprune-experiments" / ".gitignore").read_text() == "*\n"


def test_run_as_json_lines(config: Callable[..., Path], autoprune: Autoprune) -> None:
    result = autoprune("run", str(config()), "--json", "--max-trials", "2", "--concurrency", "2", "--no-server")
    notices = [json.loads(line) for line in result.stdout.splitlines()]
    assert all({"event", "time"} <= set(notice) for notice in notices)
    events = [notice["event"] for notice in notices]
    assert events[0] == "experiment"
    assert events[1] == "experiment_started"
    assert events[-1] == "experiment_ended"
    assert events.count("final_result") == events.count("trial_ended") == 2
    assert result.stderr == ""


def test_quiet_says_how_it_ended(config: Callable[..., Path], autoprune: Autoprune) -> None:
    result = autoprune("run", str(config()), "--quiet", "--no-server")
    assert result.stderr == ""
    assert "best: trial" in result.stdout


def test_the_end_names_the_trials_that_no_other_beats(config: Callable[..., Path], autoprune: Autoprune) -> None:
    script = """
        import autoprune
        x = autoprune.get_parameters()["x"]
        autoprune.report_final_result({"default": x, "cost": x, "waste": 1.0})
        """
    tuner = {"name": "TPE", "classArgs": {"seed": 1, "objectives": {"cost": "minimize"}}}
    result = autoprune("run", str(config(script, tuner=tuner)), "--no-server", "--quiet")
    assert result.returncode == 0
    _, best, front, _ = result.stdout.splitlines()
    assert best.startswith("best: trial ")
    assert front.startswith("that is by default alone; no other beats these in everything: trials ")
    assert sorted(front.rpartition("trials ")[2].split(", ")) == ["0", "1", "2"]


def test_run_without_a_fork_server(config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path) -> None:
    """What a trial finds is the same; only the server's log is not there."""
    for warm in (True, False):
        flag = f"trainingService.warmStart={str(warm).lower()}"
        assert autoprune("run", str(config()), "--no-server", "--quiet", "--set", flag).returncode == 0
        found = list((tmp_path / "autoprune-experiments").glob("*/fork-server.log"))
        assert len(found) == 1
        assert found[0].read_text() == ""


def test_every_run_is_a_new_experiment(config: Callable[..., Path], autoprune: Autoprune) -> None:
    for _ in range(2):
        assert autoprune("run", str(config()), "--quiet", "--no-server").returncode == 0
    assert len(json.loads(autoprune("list", "--json").stdout)["items"]) == 2


def test_the_workspace_of_the_file(config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path) -> None:
    path = config(experimentWorkingDirectory="elsewhere")
    assert autoprune("run", str(path), "--quiet", "--no-server").returncode == 0
    assert (tmp_path / "elsewhere" / "autoprune.db").exists()


def test_a_machine_without_gpus_names_the_remedy(config: Callable[..., Path], autoprune: Autoprune) -> None:
    path = config(trialGpuNumber=1000)
    result = autoprune("run", str(path), "--no-server")
    assert result.returncode == 2
    assert "--set trialGpuNumber=0" in result.stderr
    assert autoprune("run", str(path), "--no-server", "--quiet", "--set", "trialGpuNumber=0").returncode == 0
    assert len(json.loads(autoprune("list", "--json").stdout)["items"]) == 1


def test_failing_trials_are_exit_code_1(config: Callable[..., Path], autoprune: Autoprune) -> None:
    result = autoprune("run", str(config("import nothing_like_it", maxTrialNumber=50)), "--no-server")
    assert result.returncode == 1
    assert "No module named 'nothing_like_it'" in result.stdout
    assert "no trial has succeeded" in result.stdout


def test_a_class_that_is_not_there_is_exit_code_2(
    config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path
) -> None:
    path = config(tuner={"className": "optuna.samplers.NoSuchSampler"})
    result = autoprune("run", str(path), "--no-server")
    assert result.returncode == 2
    assert "NoSuchSampler" in result.stderr
    assert autoprune("validate", str(path)).returncode == 2
    report = json.loads(autoprune("validate", str(path), "--json").stdout)
    assert "NoSuchSampler" in report["problems"][0]["expected"]
    assert not (tmp_path / "autoprune-experiments").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_and_resume(
    config: Callable[..., Path],
    autoprune: Autoprune,
    running: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    process = running("run", str(config(SLOW)))
    process.send_signal(number)
    assert process.wait(30) == code
    status = json.loads(autoprune("status", "--json").stdout)
    assert status["state"] == "STOPPED"
    assert status["trials"] == {"WAITING": 1}
    (tmp_path / "trial.py").write_text(dedent(QUICK))
    result = autoprune("resume", "small", "--no-server", "--quiet")
    assert result.returncode == 0, result.stderr
    trials = json.loads(autoprune("trials", "--json").stdout)["items"]
    assert [(trial["state"], trial["attempts"]) for trial in trials] == [("SUCCEEDED", 2)] + [("SUCCEEDED", 1)] * 2
    finished = autoprune("resume", "small")
    assert finished.returncode == 0
    assert "is finished" in finished.stderr


def test_a_hangup_does_not_end_a_run_under_nohup(
    config: Callable[..., Path], autoprune: Autoprune, running: Callable[..., subprocess.Popen[str]]
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = running("run", str(config(SLOW)))
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert autoprune("stop", "small").returncode == 0
    assert process.wait(30) == 0


def test_kill_a_trial_then_stop(
    config: Callable[..., Path], autoprune: Autoprune, running: Callable[..., subprocess.Popen[str]]
) -> None:
    process = running("run", str(config(SLOW)))
    assert autoprune("trial", "kill", "99").returncode == 2
    killed = autoprune("trial", "kill", "0")
    assert killed.returncode == 0, killed.stderr
    for _ in range(100):
        if json.loads(autoprune("trial", "show", "0", "--json").stdout)["state"] == "USER_CANCELED":
            break
        time.sleep(0.1)
    else:
        pytest.fail("trial 0 was not canceled")
    again = autoprune("trial", "kill", "0")
    assert again.returncode == 2
    assert "USER_CANCELED" in again.stderr
    assert autoprune("stop", "small").returncode == 0
    assert process.wait(30) == 0
    assert autoprune("stop", "small").returncode == 0


def test_a_second_manager_is_refused(
    config: Callable[..., Path], autoprune: Autoprune, running: Callable[..., subprocess.Popen[str]]
) -> None:
    running("run", str(config(SLOW)))
    for options in ([], ["--detach"]):
        second = autoprune("resume", "small", "--no-server", *options)
        assert second.returncode == 75
        assert "autoprune stop small-search-" in second.stderr
    refused = autoprune("delete", "small", "--yes")
    assert refused.returncode == 75


def children(process: subprocess.Popen[str], module: str) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if module in child.cmdline()]


@pytest.mark.parametrize("module", ["autoprune.server", "autoprune.manager.advisor_child"])
def test_a_run_survives_its_helpers(
    config: Callable[..., Path], autoprune: Autoprune, running: Callable[..., subprocess.Popen[str]], module: str
) -> None:
    script = """
        import time, autoprune
        autoprune.report_intermediate_result(0.1)
        time.sleep(1)
        autoprune.report_final_result(autoprune.get_parameters()["x"])
        """
    process = running("run", str(config(script)), server=True)
    (helper,) = children(process, module)
    helper.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [json.loads(line) for line in output.splitlines()][-1]["state"] == "DONE"
    assert len(json.loads(autoprune("trials", "--json", "--state", "SUCCEEDED").stdout)["items"]) == 3


def test_helpers_end_with_their_manager(
    config: Callable[..., Path],
    autoprune: Autoprune,
    running: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    process = running("run", str(config(SLOW)), server=True)
    helpers = children(process, "autoprune.server") + children(process, "autoprune.manager.advisor_child")
    assert len(helpers) == 2
    process.kill()
    _, alive = psutil.wait_procs(helpers, timeout=20)
    assert alive == []
    assert json.loads(autoprune("status", "--json").stdout)["state"] == "INTERRUPTED"
    (tmp_path / "trial.py").write_text(dedent(QUICK))
    assert autoprune("resume", "small", "--quiet", "--no-server").returncode == 0


def test_detach(config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path) -> None:
    result = autoprune("run", str(config(SLOW)), "--detach", "--no-server")
    assert result.returncode == 0, result.stderr
    id = result.stdout.strip()
    workspace = Workspace(tmp_path / "autoprune-experiments")
    assert workspace.locked(id)
    assert workspace.manager_log(id).stat().st_mode & 0o777 == 0o600, "it may have the link to the page"
    assert autoprune("stop", id).returncode == 0
    assert not workspace.locked(id)
    assert json.loads(autoprune("status", id, "--json").stdout)["state"] == "STOPPED"
    again = autoprune("resume", id, "--detach", "--no-server", "--json")
    started = json.loads(again.stdout)
    assert (started["id"], started["log"]) == (id, str(workspace.manager_log(id)))
    assert workspace.locked(id)
    assert autoprune("stop", id).returncode == 0


def test_delete(config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path) -> None:
    autoprune("run", str(config()), "--quiet", "--no-server")
    id = json.loads(autoprune("status", "--json").stdout)["id"]
    asked = autoprune("delete", id)
    assert asked.returncode != 0
    assert (tmp_path / "autoprune-experiments" / id).exists()
    assert autoprune("delete", id, "--yes").returncode == 0
    assert not (tmp_path / "autoprune-experiments" / id).exists()
    assert autoprune("status", id).returncode == 2


def test_validate(config: Callable[..., Path], autoprune: Autoprune, tmp_path: Path) -> None:
    good = autoprune("validate", str(config(authorName="me")))
    assert good.returncode == 0
    assert "authorName" in good.stderr
    assert json.loads(autoprune("validate", "config.yml", "--json").stdout)["valid"] is True
    bad = config(maxTrialNumbr=3, trialConcurrency=0)
    result = autoprune("validate", str(bad))
    assert result.returncode == 2
    assert "did you mean maxTrialNumber?" in result.stderr
    assert "trialConcurrency" in result.stderr
    report = json.loads(autoprune("validate", str(bad), "--json").stdout)
    assert report["valid"] is False
    assert {problem["path"] for problem in report["problems"]} == {"maxTrialNumbr", "trialConcurrency"}
    assert all(problem["line"] and problem["column"] for problem in report["problems"])


def test_schema(autoprune: Autoprune) -> None:
    schema = json.loads(autoprune("schema").stdout)
    assert "trialCommand" in schema["properties"]


def test_commands_have_examples(autoprune: Autoprune) -> None:
    for command in ("run", "resume", "stop", "validate", "delete", "trial kill", "schema"):
        result = autoprune(*command.split(), "--help")
        assert result.returncode == 0
        assert "Examples:" in result.stdout
        assert f"autoprune {command}" in result.stdout


@pytest.mark.parametrize("command", [("stop", "small"), ("delete", "small", "--yes")])
def test_what_a_dead_manager_left_running_is_ended(
    config: Callable[..., Path],
    autoprune: Autoprune,
    running: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    script = """
        import os, pathlib, signal, time, autoprune
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path("pid").write_text(str(os.getpid()))
        autoprune.report_intermediate_result(0.1)
        time.sleep(1000)
        """
    process = running("run", str(config(script)))
    process.kill()
    process.wait()
    orphan = int((tmp_path / "pid").read_text())
    assert psutil.pid_exists(orphan)
    killed = autoprune("trial", "kill", "0")
    assert killed.returncode == 2
    assert "autoprune stop small-search" in killed.stderr
    assert autoprune(*command).returncode == 0
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


def test_an_empty_id_is_nobodys(config: Callable[..., Path], autoprune: Autoprune) -> None:
    autoprune("run", str(config()), "--quiet", "--no-server")
    for command in (("delete", "", "--yes"), ("stop", ""), ("resume", "")):
        assert autoprune(*command).returncode == 2
    assert len(json.loads(autoprune("list", "--json").stdout)["items"]) == 1


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_run_goes_on_when_nobody_reads(
    config: Callable[..., Path],
    autoprune: Autoprune,
    environment: dict[str, str],
    tmp_path: Path,
    flags: tuple[str, ...],
) -> None:
    command = [sys.executable, "-m", "autoprune", "run", str(config()), "--no-server", *flags]
    stream = "stdout" if flags else "stderr"
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: subprocess.PIPE}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, **streams)
    pipe = getattr(process, stream)
    pipe.readline()
    pipe.close()
    assert process.wait(60) == 0
    assert json.loads(autoprune("status", "--json").stdout)["trials"] == {"SUCCEEDED": 3}


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_reports_that_are_not_finite_are_shown_and_survived(
    config: Callable[..., Path], autoprune: Autoprune, flags: tuple[str, ...]
) -> None:
    script = """
        import autoprune
        autoprune.report_intermediate_result(float("nan"))
        autoprune.report_intermediate_result(10**400)
        autoprune.report_final_result({"default": 1, "loss": float("inf")})
        """
    result = autoprune("run", str(config(script)), "--no-server", *flags)
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    best = json.loads(autoprune("best", "--json").stdout)
    assert best["metrics"] == {"default": 1, "loss": None}
