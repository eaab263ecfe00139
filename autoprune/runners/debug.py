"""Trials inside this process, one at a time, by a simulated clock: for tests, and for stepping through a script.

Only `python script.py ...` commands run here. Each script has a thread, and exactly one thread of all runs at any
moment: a script runs until it sleeps (`time.sleep`) or ends, and then the manager has its turn. Sleeping costs no
time; the clock jumps. So a search with hours of trials takes seconds, and takes the same course every time.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import select
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar
from unittest import mock

from autoprune import protocol
from autoprune.errors import UsageError
from autoprune.records import Exit, TrialSpec
from autoprune.runners.base import DEFAULTS, Ended, Options, Runner, Started, variables, write_exit, write_inputs

_EPOCH = 1_767_225_600.0
_POLL_SECONDS = 0.1


class _Killed(BaseException):
    """Raised inside a script to end it, as a signal would."""


class DebugRunner(Runner):
    """The simulated clock, and the scripts that sleep by it."""

    name: ClassVar[str] = "debug"
    patience: ClassVar[float] = 3600.0

    def __init__(self, concurrency: int, options: Options = DEFAULTS) -> None:
        super().__init__(concurrency, options)
        self.time = _EPOCH
        self._scripts: dict[int, _Script] = {}

    def start(self, spec: TrialSpec) -> Started:
        write_inputs(spec)
        self._scripts[spec.number] = _Script(spec, self)
        return Started(os.getpid(), self.time)

    def wait(self, timeout: float, also: Collection[int] = ()) -> list[Ended]:
        if also:
            select.select(list(also), [], [], min(timeout, _POLL_SECONDS))
            return []
        script = min(self._scripts.values(), key=lambda script: script.wakes, default=None)
        if script is None or script.wakes > self.time + timeout:
            self.time += timeout
            return []
        self.time = max(self.time, script.wakes)
        exit = script.go_on()
        if exit is None:
            return []
        del self._scripts[script.spec.number]
        write_exit(script.spec.folder, exit)
        return [Ended(script.spec.number, exit)]

    def kill(self, number: int, *, now: bool = False) -> None:
        if number in self._scripts:
            self._scripts[number].killed = True
            self._scripts[number].wakes = self.time

    def reclaim(self, folder: Path, started: Started | None) -> None:
        """Nothing outlives the process that it ran in."""

    def close(self) -> None:
        for script in self._scripts.values():
            script.killed = True
            script.go_on()
        self._scripts.clear()

    def now(self) -> float:
        return self.time


class _Script:
    """One attempt: a thread that runs only while `go_on` waits for it."""

    def __init__(self, spec: TrialSpec, runner: DebugRunner) -> None:
        self.spec = spec
        self.wakes = runner.time
        self.killed = False
        self._runner = runner
        self._arguments = _python_arguments(spec.command)
        self._exit: Exit | None = None
        self._turn = threading.Semaphore(0)
        self._yielded = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"trial-{spec.number}")
        self._stdout = (spec.folder / protocol.STDOUT).open("w", encoding="utf-8")
        self._stderr = (spec.folder / protocol.STDERR).open("w", encoding="utf-8")

    def go_on(self) -> Exit | None:
        """Run until the script sleeps (None) or ends (how)."""
        with self._surroundings():
            if not self._thread.is_alive():
                self._thread.start()
            self._turn.release()
            self._yielded.acquire()
        if self._exit is not None:
            self._thread.join()
            self._stdout.close()
            self._stderr.close()
        return self._exit

    def _sleep(self, seconds: float) -> None:
        self.wakes = self._runner.time + max(0.0, seconds)
        self._yielded.release()
        self._turn.acquire()
        if self.killed:
            raise _Killed

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if self.killed:
                raise _Killed
            runpy.run_path(self._arguments[0], run_name="__main__")
            self._exit = Exit(0)
        except _Killed:
            self._exit = Exit(None, 15)
        except SystemExit as end:
            self._exit = Exit(_exit_code(end.code))
        except BaseException:
            traceback.print_exc()
            self._exit = Exit(1)
        self._yielded.release()

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """What the script sees of the process: its own, while it has its turn."""
        folder = Path.cwd()
        script = Path(self._arguments[0])
        path = [str((self.spec.code_directory / script).parent), *sys.path]
        os.chdir(self.spec.code_directory)
        try:
            with (
                mock.patch.dict(os.environ, variables(self.spec)),
                mock.patch.object(sys, "argv", self._arguments),
                mock.patch.object(sys, "path", path),
                mock.patch.object(time, "sleep", self._sleep),
                mock.patch.object(time, "time", self._runner.now),
                contextlib.redirect_stdout(self._stdout),
                contextlib.redirect_stderr(self._stderr),
            ):
                yield
        finally:
            os.chdir(folder)


def _python_arguments(command: str) -> list[str]:
    """`script.py` and its arguments."""
    words = shlex.split(command)
    if len(words) < 2 or not Path(words[0]).name.startswith("python") or words[1].startswith("-"):
        raise UsageError(
            f"given the trial command {command!r}; the debug training service runs `python script.py ...` only"
        )
    return words[1:]


def _exit_code(code: object) -> int:
    """What a process would return for `sys.exit(code)`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1
