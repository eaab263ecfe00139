"""The server as a child process, which ends with this one however that ends."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from autoprune.errors import AutopruneError
from autoprune.store import Workspace


class ServerProcess:
    """A server for a workspace, in a session of its own so that Ctrl-C at the terminal is not meant for it.

    with ServerProcess(workspace) as server:
        print(server.url)
    """

    def __init__(self, workspace: Workspace, port: int = 8080, log: Path | None = None) -> None:
        self.url = ""
        self._workspace = workspace
        self._port = port
        self._log = log or workspace.root / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, patience: float = 60.0) -> str:
        """Start it and wait until it answers; the link that logs a browser in."""
        command = [sys.executable, "-m", "autoprune.server", "--with-parent", "--port", str(self._port)]
        command += ["--workspace", str(self._workspace.root)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        line = self._first_line(patience)
        if not line:
            self.stop()
            raise AutopruneError(f"the results server did not start; its log is {self._log}")
        self.url = str(json.loads(line)["url"])
        return self.url

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, patience: float = 3.0) -> None:
        """End it. Does nothing where it has not been started or has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _first_line(self, patience: float) -> bytes:
        """Empty where none came in time, or the server ended without one."""
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], patience)
        return self._process.stdout.readline() if readable else b""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
