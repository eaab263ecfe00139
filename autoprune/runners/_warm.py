"""The runner's end of a fork server: starting it, having it fork, and learning how its children ended.

A server that dies is replaced when the next trial starts. Its children run on; a child writes its exit code down
before it leaves, so that the end of one that outlives the server is known, too, unless a signal ended it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune import protocol
from autoprune.records import Exit
from autoprune.runners import _processes
from autoprune.runners._command import Script, starts_alike
from autoprune.runners._fork_child import PADDING
from autoprune.runners._libraries import modules_in, read
from autoprune.runners._spawn import exit_of, open_pidfd, readable
from autoprune.runners.base import read_exit

PATIENCE = 5.0
"""Seconds that a trial waits for a server that is still importing; after that it starts without it."""
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.05
_START = "import sys; sys.path[:] = filter(None, sys.path); from autoprune.runners._fork_server import main; main()"


class ServerGoneError(Exception):
    """The fork server has ended, or does not answer."""


class WarmProcess:
    """A trial forked by a server."""

    def __init__(self, server: ForkServer, pid: int, folder: Path) -> None:
        self.pid = pid
        self._server = server
        self._folder = folder
        self._pidfd = open_pidfd(pid)
        self._started = _processes.started(pid)
        self._exit: Exit | None = None

    def over(self) -> bool:
        if self._exit is None:
            self._server.listen()
            self._exit = self._server.take_exit(self.pid)
        if self._exit is not None:
            return True
        if self._server.alive:
            return False
        return not _processes.is_same(self._started) if self._pidfd is None else readable(self._pidfd, 0)

    def exit(self) -> Exit | None:
        """What the server has said, else what the child wrote down before it left."""
        while not self.over():
            descriptor = self.descriptor()
            if descriptor is None:
                time.sleep(_POLL_SECONDS)
            else:
                readable(descriptor, 1.0)
        return self._exit or read_exit(self._folder)

    def descriptor(self) -> int | None:
        return self._server.descriptor() if self._server.alive else self._pidfd

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


class ForkServer:
    """One server process. `environment` is what its trials will have, but for what is each trial's own."""

    def __init__(self, script: Script, folder: Path, environment: Mapping[str, str], log_file: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = environment
        self._exits: dict[int, Exit] = {}
        self._modules: frozenset[str] | None = None
        self._threads = 1
        self.alive = True
        with theirs, log_file.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno())],
                cwd=folder,
                env=_roomy(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        self._socket.setblocking(False)
        path = [folder / entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
        reading = read(script.path.resolve(), path)
        self._variables = reading.variables
        self._socket.send(json.dumps(reading.libraries).encode())
        self._patient_until = time.monotonic() + PATIENCE

    @property
    def ready(self) -> bool:
        """Whether it has, or had, imported all there is."""
        return self._modules is not None

    def obstacle(self, script: Script, environment: Mapping[str, str]) -> str:
        """Why a child would not be what a fresh interpreter is; empty when it would. Waits, once, for a server that is
        still importing."""
        while self.alive and not self.ready and (left := self._patient_until - time.monotonic()) > 0:
            readable(self.descriptor(), left)
            self.listen()
        if not self.alive:
            return "it ended while it imported libraries"
        if self._modules is None:
            return "it is still importing libraries; later ones will have it"
        if self._threads > 1:
            return "the libraries that it imports start threads of their own"
        if self._variables:
            names = ", ".join(self._variables)
            return f"the script names {names}, which is read earlier; write NAME=VALUE before the command"
        hidden = self._modules & modules_in(script.path.resolve().parent)
        if hidden:
            return f"{', '.join(sorted(hidden))} beside the script would hide what it has imported"
        if not starts_alike(environment, self._environment):
            return "the trial's environment changes how an interpreter starts"
        return ""

    def start(
        self, script: Script, folder: Path, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> WarmProcess:
        """Have a child forked that runs the script, and wait until it is known as the trial's.

        The child holds a pipe until then. Raises ServerGoneError, and then there is no child.
        """
        request = {
            "words": script.words,
            "argv": script.argv,
            "file": script.file,
            "unbuffered": script.unbuffered,
            "folder": str(folder),
            "environment": dict(environment),
        }
        attempt = Path(environment[protocol.ATTEMPT_VARIABLE])
        unmarked, end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            with os.fdopen(end, "wb"), _in_memory(json.dumps(request).encode()) as file:
                socket.send_fds(self._socket, [b"fork"], [file.fileno(), stdout, stderr, end])
            pid = self._await_start()
            if not readable(unmarked, _ANSWER_SECONDS):
                raise ServerGoneError("its child does not begin")
            return WarmProcess(self, pid, attempt)
        except (OSError, ServerGoneError) as error:
            self.close()
            readable(unmarked, _ANSWER_SECONDS)
            _processes.end(attempt, None)
            raise ServerGoneError(str(error)) from error
        finally:
            os.close(unmarked)

    def listen(self) -> None:
        """Take in what the server has said."""
        while self._receive() is not None:
            pass

    def take_exit(self, pid: int) -> Exit | None:
        return self._exits.pop(pid, None)

    def descriptor(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """End the server. Its children go on."""
        self.alive = False
        self._socket.close()
        self._popen.kill()
        self._popen.wait()

    def _await_start(self) -> int:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0 and self.alive:
            readable(self.descriptor(), left)
            while (message := self._receive()) is not None:
                if "started" in message:
                    return int(message["started"])
        raise ServerGoneError("no answer")

    def _receive(self) -> dict[str, Any] | None:
        """One message, noted; None when there is no more."""
        if not self.alive:
            return None
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            self.close()
            return None
        message: dict[str, Any] = json.loads(data)
        if "ended" in message:
            self._exits[message["ended"]] = exit_of(message["status"])
        elif "ready" in message:
            self._modules, self._threads = frozenset(message["modules"]), message["threads"]
        return message


def _roomy(environment: Mapping[str, str]) -> dict[str, str]:
    """With one thread for OpenBLAS, which would start more when it is imported, and room for a child's marker, last."""
    own = {name: value for name, value in environment.items() if name != protocol.ATTEMPT_VARIABLE}
    return {**own, "OPENBLAS_NUM_THREADS": "1", protocol.ATTEMPT_VARIABLE: "x" * PADDING}


def _in_memory(data: bytes) -> Any:
    file = os.fdopen(os.memfd_create("request"), "w+b")
    file.write(data)
    file.flush()
    return file
