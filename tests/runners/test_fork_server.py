"""The fork server: what becomes of trials when it dies, hangs, or cannot be."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from autoprune.records import Exit
from autoprune.runners._warm import WarmProcess
from autoprune.runners.local import LocalRunner

from .warm_bench import Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has fork servers")


def server_of(bench: Bench) -> psutil.Process:
    server = bench.runner._launcher._server
    assert server is not None
    return psutil.Process(server._popen.pid)


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


SLEEPS = "import sys, time\nprint('up', flush=True)\ntime.sleep({seconds})\nsys.exit(4)\n"


def test_a_killed_server_loses_no_trial_and_is_replaced(code: Path, warm: Bench) -> None:
    (code / "trial.py").write_text(SLEEPS.format(seconds=1))
    first = warm.start(code)
    server = server_of(warm)
    server.kill()
    second = warm.start(code)
    third = warm.start(code)
    assert server_of(warm).pid != server.pid
    assert isinstance(warm.process(third), WarmProcess)
    assert warm.finish() == dict.fromkeys((first.number, second.number, third.number), Exit(4))


def test_a_trial_that_a_signal_ends_after_its_server_has_an_unknown_end(code: Path, warm: Bench) -> None:
    (code / "trial.py").write_text(SLEEPS.format(seconds=60))
    spec = warm.start(code)
    server_of(warm).kill()
    warm.runner.kill(spec.number, now=True)
    assert warm.finish() == {spec.number: None}


def test_a_server_that_stops_answering_is_done_without(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("autoprune.runners._warm._ANSWER_SECONDS", 0.2)
    warm.run(code, "pass\n")
    server_of(warm).suspend()
    assert warm.run(code, "print(1)\n", spawned=True) == (Exit(0), "1\n", "")
    assert "starts without it" in caplog.text


def test_a_server_that_cannot_start_is_done_without(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("autoprune.runners._warm._START", "import sys; sys.exit('no')")
    for _ in range(5):
        assert warm.run(code, "print(1)\n", spawned=True) == (Exit(0), "1\n", "")
    assert caplog.text.count("no fork server can be started") == 1


def test_a_server_ends_with_its_runner_and_its_trials_do_not(code: Path, tmp_path: Path) -> None:
    """As when a manager is killed: the socket closes. What is left is known by the folder in its environment."""
    (code / "trial.py").write_text(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    bench = Bench(tmp_path, warm=True)
    spec = bench.start(code)
    process, server = psutil.Process(bench.process(spec).pid), server_of(bench)  # type: ignore[attr-defined]
    deadline = time.monotonic() + 30
    while (spec.folder / "stdout").read_text() != "up\nup\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (child,) = process.children()
    bench.runner._launcher._server._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    server.wait(10)
    assert lives(process)
    other = LocalRunner(1)
    other.reclaim(spec.folder, None)
    other.close()
    assert not lives(process)
    assert not lives(child)
    bench.runner.close()


def test_libraries_that_start_threads_are_not_forked(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = "import threading, time; threading.Thread(target=time.sleep, args=[1e6], daemon=True).start(); "
    from autoprune.runners import _warm

    monkeypatch.setattr(_warm, "_START", start + _warm._START)
    assert warm.run(code, "print(1)\n", spawned=True) == (Exit(0), "1\n", "")
    assert "start threads of their own" in caplog.text


def test_warm_start_can_be_turned_off(code: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path, warm=False)
    (code / "trial.py").write_text("pass\n")
    spec = bench.start(code)
    assert not isinstance(bench.process(spec), WarmProcess)
    assert bench.finish() == {spec.number: Exit(0)}
    bench.runner.close()
