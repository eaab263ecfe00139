"""Processes: whole trees die, nothing is left, threads are shared out fairly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pynvml
import pytest

from autoprune.protocol import ATTEMPT_VARIABLE
from autoprune.records import Exit, TrialSpec
from autoprune.runners import _gpus
from autoprune.runners.base import Options, Started, read_exit
from autoprune.runners.local import LocalRunner

from .conftest import Machine

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("daemon.pid", "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
os.wait()
while not (os.path.exists("daemon.pid") and open("daemon.pid").read()):
    time.sleep(0.01)
"""


@pytest.fixture
def runner() -> Iterator[LocalRunner]:
    runner = LocalRunner(2)
    yield runner
    runner.close()


def spec(tmp_path: Path, command: str, gpus: int = 0, number: int = 0) -> TrialSpec:
    return TrialSpec(
        experiment="exp-1",
        number=number,
        attempt=0,
        command=command,
        code_directory=tmp_path,
        folder=tmp_path / str(number) / "0",
        output=tmp_path / "output",
        parameters={},
        gpus=gpus,
    )


def finish(runner: LocalRunner) -> Exit:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for ended in runner.wait(1.0):
            return ended.exit
    pytest.fail("the trial did not end")


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for(path: Path) -> int:
    while not (path.exists() and path.read_text().strip()):
        time.sleep(0.01)
    return int(path.read_text())


def test_shell_commands_are_shell_commands(runner: LocalRunner, tmp_path: Path) -> None:
    trial = spec(tmp_path, "X=1; echo $X $((1 + 2)) | cat; exit 4")
    runner.start(trial)
    assert finish(runner) == Exit(4)
    assert (trial.folder / "stdout").read_text() == "1 3\n"


def test_python_is_this_python(runner: LocalRunner, tmp_path: Path) -> None:
    trial = spec(tmp_path, "python -c 'import sys; print(sys.prefix)'")
    runner.start(trial)
    finish(runner)
    assert (trial.folder / "stdout").read_text().strip() == sys.prefix


def test_a_signal_is_not_an_exit_code(runner: LocalRunner, tmp_path: Path) -> None:
    trial = spec(tmp_path, "kill -9 $$")
    runner.start(trial)
    assert finish(runner) == Exit(None, 9)
    assert read_exit(trial.folder) == Exit(None, 9)


@pytest.mark.parametrize("now", [False, True])
def test_kill_takes_the_tree(runner: LocalRunner, tmp_path: Path, now: bool) -> None:
    child = "sh -c 'sh -c \"echo \\$\\$ > grandchild.pid; sleep 1000\" & sleep 1000'"
    command = f"{child} & trap '' TERM; sleep 1000; sleep 1000"
    started = runner.start(spec(tmp_path, command))
    grandchild = wait_for(tmp_path / "grandchild.pid")
    assert alive(grandchild)
    runner.kill(0, now=True) if now else runner.kill(0)
    runner.kill(0, now=True)
    finish(runner)
    assert not alive(grandchild)
    assert not alive(started.pid)


def test_what_a_trial_leaves_behind_dies_with_it(runner: LocalRunner, tmp_path: Path) -> None:
    (tmp_path / "trial.py").write_text(DAEMON)
    runner.start(spec(tmp_path, "python trial.py"))
    assert finish(runner) == Exit(0)
    assert not alive(int((tmp_path / "daemon.pid").read_text()))


def test_reclaim_ends_a_dead_managers_trial(runner: LocalRunner, tmp_path: Path) -> None:
    folder = tmp_path / "0" / "0"
    orphan = subprocess.Popen(
        ["sleep", "1000"], start_new_session=True, env={**os.environ, ATTEMPT_VARIABLE: str(folder)}
    )
    runner.reclaim(folder, Started(orphan.pid, psutil.Process(orphan.pid).create_time()))
    assert orphan.wait() == -signal.SIGKILL


def test_reclaim_spares_a_process_that_got_the_same_id(runner: LocalRunner, tmp_path: Path) -> None:
    innocent = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        created = psutil.Process(innocent.pid).create_time()
        runner.reclaim(tmp_path / "0" / "0", Started(innocent.pid, created - 100.0))
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_cores_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setattr("autoprune.runners.local._cores", lambda: 8)
    runner = LocalRunner(3)
    trial = spec(tmp_path, "echo $OMP_NUM_THREADS $MKL_NUM_THREADS $OMP_WAIT_POLICY")
    runner.start(trial)
    finish(runner)
    runner.close()
    assert (trial.folder / "stdout").read_text() == "2 7 passive\n"


def test_threads_of_a_trial_that_is_alone_wait_as_they_do_in_any_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr("autoprune.runners.local._cores", lambda: 8)
    runner = LocalRunner(1)
    trial = spec(tmp_path, "echo $OMP_NUM_THREADS ${OMP_WAIT_POLICY-unset}")
    runner.start(trial)
    finish(runner)
    runner.close()
    assert (trial.folder / "stdout").read_text() == "8 unset\n"


def test_the_number_of_threads_that_is_given_holds_for_all_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    runner = LocalRunner(1)
    trial = spec(tmp_path, "echo $OMP_NUM_THREADS $MKL_NUM_THREADS $OPENBLAS_NUM_THREADS")
    runner.start(trial)
    finish(runner)
    runner.close()
    assert (trial.folder / "stdout").read_text() == "3 3 3\n"


def seen_gpus(trial: TrialSpec) -> list[str]:
    """What CUDA_VISIBLE_DEVICES said to a trial that printed it."""
    return (trial.folder / "stdout").read_text().strip().split(",")


def run_to_the_end(runner: LocalRunner, count: int) -> None:
    ended = 0
    while ended < count:
        ended += len(runner.wait(1.0))


def test_gpus_are_given_out_one_by_one(tmp_path: Path, machine: Machine) -> None:
    machine("a", "b", "c")
    runner = LocalRunner(4)
    assert runner.check(3) is None
    assert "3 GPUs" in (runner.check(4) or "")
    assert runner.slots(1) == 3
    assert runner.slots(2) == 1
    trials = [spec(tmp_path, "echo $CUDA_VISIBLE_DEVICES; sleep 0.2", gpus=1, number=number) for number in range(3)]
    for trial in trials:
        runner.start(trial)
    assert runner.slots(1) == 3
    run_to_the_end(runner, 3)
    runner.close()
    assert sorted(seen_gpus(trial) for trial in trials) == [["GPU-a"], ["GPU-b"], ["GPU-c"]]


def test_trials_share_gpus_evenly(tmp_path: Path, machine: Machine) -> None:
    """Two on each of three GPUs, two GPUs to a trial; and every trial's own processes keep none from starting."""
    wait = f"while ! test -e {tmp_path}/go; do sleep 0.05; done"
    nvml = machine("a", "b", "c")
    runner = LocalRunner(9, Options(trials_per_gpu=2))
    assert runner.slots(2) == 3
    runner.concurrency = 2
    assert runner.slots(2) == 2
    runner.concurrency = 9
    trials = [spec(tmp_path, f"echo $CUDA_VISIBLE_DEVICES; {wait}", gpus=2, number=number) for number in range(3)]
    for trial in trials:
        started = runner.start(trial)
        for device in nvml.devices:
            device.pids.append(started.pid)
        assert runner.slots(2) == 3
    (tmp_path / "go").touch()
    run_to_the_end(runner, 3)
    runner.close()
    assert Counter(gpu for trial in trials for gpu in seen_gpus(trial)) == {"GPU-a": 2, "GPU-b": 2, "GPU-c": 2}
    assert all(len(set(seen_gpus(trial))) == 2 for trial in trials)


def test_another_programs_gpu_is_free_once_it_ends(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gpus, "_READING_SECONDS", 0.0)
    nvml = machine("a")
    runner = LocalRunner(1)
    other = subprocess.Popen(["sleep", "1000"])
    nvml.devices[0].pids = [other.pid]
    try:
        assert runner.slots(1) == 0
    finally:
        other.kill()
        other.wait()
    nvml.devices[0].pids = []
    assert runner.slots(1) == 1
    runner.close()


def test_a_trial_without_gpus_sees_none(tmp_path: Path, runner: LocalRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    trial = spec(tmp_path, "echo ${CUDA_VISIBLE_DEVICES-unset}")
    runner.start(trial)
    finish(runner)
    assert seen_gpus(trial) == [""]


def test_a_machine_without_gpus_says_so(machine: Machine) -> None:
    machine(error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    runner = LocalRunner(1)
    assert runner.check(0) is None
    assert "no GPU" in (runner.check(1) or "")
    runner.close()


def test_no_descriptors_leak(runner: LocalRunner, tmp_path: Path) -> None:
    process = psutil.Process()
    runner.start(spec(tmp_path, "true"))
    finish(runner)
    before = process.num_fds()
    for number in range(1, 6):
        runner.start(spec(tmp_path, "true", number=number))
        finish(runner)
    assert process.num_fds() == before


def test_a_script_asked_to_end_has_time_to(runner: LocalRunner, tmp_path: Path) -> None:
    (tmp_path / "trial.py").write_text(
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.5)\n"
        "    open('saved', 'w').write('checkpoint')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open('ready', 'w').write('1')\n"
        "time.sleep(1000)\n"
    )
    runner.start(spec(tmp_path, "python trial.py; true"))
    wait_for(tmp_path / "ready")
    runner.kill(0)
    finish(runner)
    assert (tmp_path / "saved").read_text() == "checkpoint"


def test_a_trial_may_remove_its_folder(runner: LocalRunner, tmp_path: Path) -> None:
    trial = spec(tmp_path, "rm -r $AUTOPRUNE_ATTEMPT_DIR")
    runner.start(trial)
    assert finish(runner) == Exit(0)
    assert read_exit(trial.folder) is None
