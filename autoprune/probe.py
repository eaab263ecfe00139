"""Work that needs torch, in a child process, so that the command line and the manager themselves stay light.

The child leads a process group of its own, and all of it ends with this process: at Ctrl-C and SIGTERM we end it, and
where we are killed, the child sees its standard input close. Its standard output is a file of which we read the one
answer; whatever else it or the user's code prints goes to our standard error, or line by line to whoever listens.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from types import FrameType
from typing import IO, Any

from autoprune.errors import AutopruneError, UsageError

COMPRESSION = "autoprune.compression.command"
SEARCH = "autoprune.search.command"
"""The modules that answer."""

_PATIENCE = 3.0
_POLL_SECONDS = 0.1


def ask(
    module: str,
    task: str,
    request: Mapping[str, Any],
    *,
    listener: Callable[[str], None] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Have a child process do a task, and return what it answers; its errors are raised here.

    A `listener` gets each line that the child prints. `meanwhile` is called every tenth of a second; what it raises
    ends the child. `environment` is what the child finds in its own beside ours.
    """
    with TemporaryFile() as answer, _ended_by_sigterm():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, task],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=None if listener is None else subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            _send(process, request)
            code = _wait(process, listener, meanwhile)
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


def _wait(
    process: subprocess.Popen[bytes], listener: Callable[[str], None] | None, meanwhile: Callable[[], None]
) -> int:
    """The exit code. Lines are passed on as they come, also those that the child's own children still print."""
    heard = b""
    while True:
        meanwhile()
        if process.stderr is None or listener is None:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_SECONDS)
            continue
        over = process.poll() is not None
        while select.select([process.stderr], [], [], 0 if over else _POLL_SECONDS)[0]:
            if not (more := os.read(process.stderr.fileno(), 1 << 16)):
                over = True
                break
            *lines, heard = (heard + more).split(b"\n")
            for line in lines:
                listener(line.decode(errors="replace"))
        if over and process.poll() is not None:
            if heard:
                listener(heard.decode(errors="replace"))
            return process.returncode
        if over:
            process.wait()


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
    if process.stderr is not None:
        process.stderr.close()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends us as an exception does, so that the child is ended first."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
