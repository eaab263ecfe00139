"""Trials as processes of this machine, each in a process group of its own."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from autoprune import protocol
from autoprune.records import TrialSpec
from autoprune.runners import _processes
from autoprune.runners._gpus import Gpu, Gpus
from autoprune.runners._launcher import Launcher
from autoprune.runners._spawn import Process
from autoprune.runners._watch import Watch
from autoprune.runners.base import DEFAULTS, Ended, Options, Runner, Started, variables, write_exit, write_inputs

GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Running:
    spec: TrialSpec
    process: Process
    gpus: Collection[Gpu]
    kill_at: float | None = None


class LocalRunner(Runner):
    """Runs the command in a shell, from the code directory, with a fair share of the cores."""

    name: ClassVar[str] = "local"

    def __init__(self, concurrency: int, options: Options = DEFAULTS) -> None:
        super().__init__(concurrency, options)
        self._running: dict[int, _Running] = {}
        self._watch = Watch()
        self._launcher = Launcher(warm=self.options.warm_start)
        self._gpus = Gpus(self.options)

    def prepare(self, command: str, folder: Path, log: Path) -> None:
        self._launcher.prepare(command, folder, self._shared_environment(), log)

    def start(self, spec: TrialSpec) -> Started:
        write_inputs(spec)
        gpus = self._gpus.take(spec.gpus, self._held())
        stdout, stderr = spec.folder / protocol.STDOUT, spec.folder / protocol.STDERR
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = self._launcher.start(spec, self._environment(spec, gpus), out.fileno(), err.fileno())
        self._watch.add(spec.folder / protocol.METRICS)
        self._running[spec.number] = _Running(spec, process, gpus)
        return _processes.started(process.pid)

    def wait(self, timeout: float, also: Collection[int] = ()) -> list[Ended]:
        self._sleep(timeout, also)
        self._watch.drain()
        self._kill_the_overdue()
        ended = [running for running in self._running.values() if running.process.over()]
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
            self._reap(running)
        self._launcher.close()
        self._watch.close()
        self._gpus.close()

    def check(self, gpus: int) -> str | None:
        return self._gpus.check(gpus)

    def slots(self, gpus: int) -> int:
        if not gpus or len(self._running) >= self.concurrency:
            return self.concurrency
        more = self._gpus.room(gpus, self._held(), self._is_ours)
        return min(self.concurrency, len(self._running) + more)

    def _shared_environment(self) -> dict[str, str]:
        """Ours, this interpreter first on the path, and no more threads than a trial's share of the cores, or than
        OMP_NUM_THREADS says for all. Beside other trials threads sleep while they wait; a trial that is alone is as
        fast as any process, so that a latency measured there is what it is elsewhere."""
        threads = threads_of_a_trial(self.concurrency)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        each = os.environ.get(_THREAD_VARIABLES[0], str(threads))
        environment = {**dict.fromkeys(_THREAD_VARIABLES, each), **os.environ, "PATH": path}
        if threads > 1 and self.concurrency > 1:
            environment.setdefault("OMP_WAIT_POLICY", "passive")
        return environment

    def _environment(self, spec: TrialSpec, gpus: Collection[Gpu]) -> dict[str, str]:
        """The shared one with what is this trial's own; one that asks for no GPU sees none."""
        seen = ",".join(gpu.uuid for gpu in gpus)
        return {**self._shared_environment(), protocol.GPUS_VARIABLE: seen, **variables(spec)}

    def _sleep(self, timeout: float, also: Collection[int]) -> None:
        alive = [running for running in self._running.values() if not running.process.over()]
        ours = {self._watch.descriptor, *(running.process.descriptor() for running in alive)}
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
        exit = running.process.exit()
        running.process.close()
        if exit is not None:
            write_exit(folder, exit)
        self._watch.remove(folder / protocol.METRICS)
        del self._running[running.spec.number]
        return Ended(running.spec.number, exit)

    def _held(self) -> Counter[Gpu]:
        """How many trials run on each GPU."""
        return Counter(gpu for running in self._running.values() for gpu in running.gpus)

    def _is_ours(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return False
        trials = ((running.spec.folder, running.process.pid) for running in self._running.values())
        return any(_processes.belongs(process, folder, group) for folder, group in trials)


def threads_of_a_trial(concurrency: int) -> int:
    """Its share of the cores, where the environment does not say otherwise."""
    return max(1, _cores() // concurrency)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
