"""The server as a child process, which ends with this one however that ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import socket
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from autoprune.errors import AutopruneError
from autoprune.server.door import Door, bind
from autoprune.server.tokens import VARIABLE
from autoprune.store import Workspace

_WATCH_SECONDS = 1.0


class ServerProcess:
    """A server for a workspace, in a session of its own so that Ctrl-C at the terminal is not meant for it.

    with ServerProcess.start(workspace) as server:
        print(server.url)
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    def start(
        cls,
        workspace: Workspace,
        at: int | Door = 8080,
        *,
        listener: socket | None = None,
        token: str | None = None,
        patience: float = 60.0,
    ) -> Self:
        """Start one on the first free port from that upward, or on a socket that is bound there already, and wait until
        it answers. Without a token, it has that of the door's file, of the environment, or a new one.

        `url` is then the link that logs a browser in. What the server has to say is in the workspace's `server.log`.
        """
        door = at if isinstance(at, Door) else Door(port=at)
        command = [sys.executable, "-m", "autoprune.server", "--with-parent", *door.options]
        command += ["--workspace", str(workspace.root)]
        inherited = [] if listener is None else [listener.fileno()]
        command += [f"--listener={number}" for number in inherited]
        path = workspace.root / "server.log"
        with path.open("ab") as log:
            before = log.tell()
            pipe = subprocess.PIPE
            environment = os.environ if token is None else {**os.environ, VARIABLE: token}
            process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                start_new_session=True,
                env=environment,
                pass_fds=inherited,
            )
        line = _first_line(process, patience)
        if not line:
            _end(process)
            said = path.read_bytes()[before:].decode(errors="replace").strip().splitlines()
            reason = f": {said[-1]}" if said else ""
            raise AutopruneError(f"the results server did not start{reason} (its log is {path})")
        return cls(process, json.loads(line)["url"])

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it; may be called again."""
        _end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


@contextmanager
def serving(workspace: Workspace, door: Door) -> Iterator[str]:
    """A server until the end of the block, and its link. One that dies is started again, under the same link: its port
    is held here, so that nobody else takes it meanwhile."""
    with bind(door.host, door.port) as listener:
        server = ServerProcess.start(workspace, door, listener=listener)
        (token,) = parse_qs(urlsplit(server.url).query)["token"]
        over = threading.Event()

        def keep() -> None:
            nonlocal server
            while not over.wait(_WATCH_SECONDS):
                if not server.alive:
                    server.stop()
                    with suppress(AutopruneError):
                        server = ServerProcess.start(workspace, door, listener=listener, token=token)

        thread = threading.Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            over.set()
            thread.join()
            server.stop()


def _first_line(process: subprocess.Popen[bytes], patience: float) -> bytes:
    """Empty where none came in time, or the server ended without one."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], patience)
    return process.stdout.readline() if readable else b""


def _end(process: subprocess.Popen[bytes], patience: float = 3.0) -> None:
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
