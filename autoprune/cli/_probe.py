"""Work that needs torch, in a child process, so that the command line itself stays light.

The child leads a process group of its own, and all of it ends with this process: at Ctrl-C and SIGTERM we end it, and
where we are killed, the child sees its standard input close. Its standard output is a file of which we read the one
answer; whatever else it or the user's code prints goes to our standard error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from types import FrameType
from typing import IO, Any

from autoprune.errors import AutopruneError, UsageError

_MODULE = "autoprune.compression.command"
_PATIENCE = 3.0


def ask(task: str, request: Mapping[str, Any]) -> Any:
    """Have a child process do a task, and return what it answers; its errors are raised here."""
    with TemporaryFile() as answer, _ended_by_sigterm():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE, task], stdin=subprocess.PIPE, stdout=answer, start_new_session=True
        )
        try:
            _send(process, request)
            code = process.wait()
        except BaseException:
            _interrupt(process)
            raise
        finally:
            _end(process)
        return _read(answer, code)


def _send(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    """One line. The pipe stays open: when it closes, the child ends."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()


def _read(answer: IO[bytes], code: int) -> Any:
    answer.seek(0)
    try:
        message = json.loads(answer.read())
    except ValueError:  # nothing, or not all of it
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        raise AutopruneError(f"the process that runs torch ended by {how} before it had an answer") from None
    if "error" in message:
        raise (UsageError if message["exit_code"] == UsageError.exit_code else AutopruneError)(message["error"])
    return message["result"]


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let it put away what it has begun to write."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Everything in its group, whether it leads it still or not."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends us as an exception does, so that the child is ended first."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
