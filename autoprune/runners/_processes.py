"""Process trees: finding everything a trial started, and ending it.

A process belongs to an attempt when it is in the attempt's process group, or carries the attempt's folder in its
environment: that finds also what has left the group or lost its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil

from autoprune.errors import TrialError
from autoprune.protocol import ATTEMPT_VARIABLE
from autoprune.runners.base import Started


def started(pid: int) -> Started:
    """This process, named beyond doubt; one that is already gone has the creation time 0."""
    try:
        return Started(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return Started(pid, 0.0)


def is_same(process: Started) -> bool:
    """Whether the process still runs, and its id was not given to another."""
    try:
        return abs(psutil.Process(process.pid).create_time() - process.created) < 0.1
    except psutil.NoSuchProcess:
        return False


def members(folder: Path, group: int | None) -> list[psutil.Process]:
    """The living processes of an attempt; `group` is its process group where that is known to be its own."""
    everyone = (process for process in psutil.process_iter() if process.pid != os.getpid())
    return [process for process in everyone if belongs(process, folder, group)]


def belongs(process: psutil.Process, folder: Path, group: int | None) -> bool:
    """Whether a process lives, and is one of an attempt's."""
    with contextlib.suppress(psutil.Error, OSError):
        in_group = group is not None and os.getpgid(process.pid) == group
        ours = in_group or process.environ().get(ATTEMPT_VARIABLE) == str(folder)
        return ours and process.status() != psutil.STATUS_ZOMBIE
    return False


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)


def end(folder: Path, group: int | None, patience: float = 10.0) -> None:
    """Kill every process of an attempt, those that appear meanwhile too."""
    deadline = time.monotonic() + patience
    while left := members(folder, group):
        if time.monotonic() > deadline:
            raise TrialError(f"processes {[process.pid for process in left]} of {folder} survive SIGKILL")
        send(left, signal.SIGKILL)
        time.sleep(0.005)
