"""Trials as processes of this machine, each in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from autoprune import protocol
from autoprune.records import Exit, TrialSpec
from autoprune.runners import _gpus, _processes
from autoprune.runners._watch import Watch
from autoprune.runners.base import DEFAULTS, Ended, Options, Runner, Started, variables, write_exit, write_inputs

GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Running:
    spec: TrialSpec
    process: subprocess.Popen[bytes]
    pidfd: int | None
    gpus: Collection[str]
    kill_at: float | None = None


class LocalRunner(Runner):
    """Runs the command in a shell, from the code directory, with a fair share of the cores."""

    name: ClassVar[str] = "local"

    def __init__(self, concurrency: int, options: Options = DEFAULTS) -> None:
        super().__init__(concurrency, options)
        self._running: dict[int, _Running] = {}
        self._watch = Watch()
        self._gpus: tuple[str, ...] | None = None

    def start(self, spec: TrialSpec) -> Started:
        write_inputs(spec)
        gpus = self._free_gpus(spec.gpus)
        stdout, stderr = spec.folder / protocol.STDOUT, spec.folder / protocol.STDERR
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                ["/bin/sh", "-c", spec.command],
                cwd=spec.code_directory,
                env=self._environment(spec, gpus),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._watch.add(spec.folder / protocol.METRICS)
        self._running[spec.number] = _Running(spec, process, _open_pidfd(process.pid), gpus)
        return _processes.started(process.pid)

    def wait(self, timeout: float, also: Collection[int] = ()) -> list[Ended]:
        self._sleep(timeout, also)
        self._watch.drain()
        self._kill_the_overdue()
        ended = [running for running in self._running.values() if running.process.poll() is not None]
        return [self._reap(running) for running in ended if not self._has_time_left(running)]

    def kill(self, number: int, *, now: bool = False) -> None:
        running = self._running.get(number)
        if running is None:
            return
        if now:
            running.kill_at = 0.0
        elif running.kill_at is None:
            running.kill_at = time.monotonic() + GRACE_SECONDS
            _processes.send(_processes.members(running.spec.folder, running.process.pid), signal.SIGTERM)

    def reclaim(self, folder: Path, started: Started | None) -> None:
        group = started.pid if started is not None and _processes.is_same(started) else None
        _processes.end(folder, group)

    def close(self) -> None:
        for running in list(self._running.values()):
            _processes.end(running.spec.folder, running.process.pid)
            running.process.wait()
            self._reap(running)
        self._watch.close()

    def check(self, gpus: int) -> str | None:
        found = len(self._all_gpus()) if gpus else 0
        if gpus <= found:
            return None
        return f"trialGpuNumber is {gpus}, and this machine has {found or 'no'} GPU{'s' if found > 1 else ''}"

    def slots(self, gpus: int) -> int:
        return min(self.concurrency, len(self._all_gpus()) // gpus) if gpus else self.concurrency

    def _environment(self, spec: TrialSpec, gpus: Collection[str]) -> dict[str, str]:
        """Ours, this interpreter first on the path, and no more threads than this trial's share of the cores."""
        threads = max(1, _cores() // self.concurrency)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        environment = {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), **os.environ, "PATH": path}
        if threads > 1:
            environment.setdefault("OMP_WAIT_POLICY", "passive")
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        return environment | variables(spec)

    def _sleep(self, timeout: float, also: Collection[int]) -> None:
        alive = [running for running in self._running.values() if running.process.returncode is None]
        ours = [self._watch.descriptor, *(running.pidfd for running in alive)]
        lingering = len(alive) < len(self._running)
        with selectors.DefaultSelector() as selector:
            for descriptor in (*also, *ours):
                if descriptor is not None:
                    selector.register(descriptor, selectors.EVENT_READ)
            selector.select(min(timeout, _POLL_SECONDS) if None in ours or lingering else timeout)

    def _has_time_left(self, running: _Running) -> bool:
        """Whether a trial that was asked to end is still about it: its shell is gone, its script is not."""
        if running.kill_at is None or time.monotonic() >= running.kill_at:
            return False
        return bool(_processes.members(running.spec.folder, running.process.pid))

    def _kill_the_overdue(self) -> None:
        for running in self._running.values():
            if running.kill_at is not None and time.monotonic() >= running.kill_at:
                _processes.end(running.spec.folder, running.process.pid)

    def _reap(self, running: _Running) -> Ended:
        """The main process is over: end what it left behind, and write down how it ended."""
        folder = running.spec.folder
        _processes.end(folder, running.process.pid)
        code = running.process.wait()
        exit = Exit(code) if code >= 0 else Exit(None, -code)
        write_exit(folder, exit)
        self._watch.remove(folder / protocol.METRICS)
        if running.pidfd is not None:
            os.close(running.pidfd)
        del self._running[running.spec.number]
        return Ended(running.spec.number, exit)

    def _all_gpus(self) -> tuple[str, ...]:
        if self._gpus is None:
            self._gpus = _gpus.find()
        return self._gpus

    def _free_gpus(self, count: int) -> tuple[str, ...]:
        if not count:
            return ()
        taken = {gpu for running in self._running.values() for gpu in running.gpus}
        return tuple(gpu for gpu in self._all_gpus() if gpu not in taken)[:count]


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that can be read once the process is over; None where there are none."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
