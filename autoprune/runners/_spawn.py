"""The main process of a trial, whichever way it was started; here, by spawning it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from autoprune.records import Exit


class Process(Protocol):
    """A process that leads a session of its own."""

    pid: int

    def over(self) -> bool:
        """Whether it has ended."""

    def exit(self) -> Exit | None:
        """How it ended, which is waited for; None where nobody saw it."""

    def descriptor(self) -> int | None:
        """To wait on: it can be read when there may be news. None where there is no such thing."""

    def close(self) -> None:
        """Let go of it, once it is over."""


class SpawnedProcess:
    """A new process that runs these words."""

    def __init__(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> None:
        self._popen = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self._pidfd = open_pidfd(self.pid)

    def over(self) -> bool:
        return self._popen.poll() is not None

    def exit(self) -> Exit:
        return exit_of(self._popen.wait())

    def descriptor(self) -> int | None:
        return self._pidfd

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


def readable(descriptor: int, seconds: float) -> bool:
    """Whether something can be read, or the end of it, within this time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(math.ceil(seconds * 1000)))


def exit_of(code: int) -> Exit:
    """From an exit code, or the negative number of a signal."""
    return Exit(code) if code >= 0 else Exit(None, -code)


def open_pidfd(pid: int) -> int | None:
    """A descriptor that can be read once the process is over; None where there are none, or it is gone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None
