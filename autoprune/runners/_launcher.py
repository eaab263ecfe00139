"""Which way a trial starts: `python script.py ...` as a fork of a server that has imported its libraries already, or
where that cannot be as a new interpreter, which is the same to the script; everything else by a shell."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from autoprune.records import TrialSpec
from autoprune.runners._command import Script, as_script
from autoprune.runners._spawn import Process, SpawnedProcess
from autoprune.runners._warm import ForkServer, ServerGoneError

log = logging.getLogger(__name__)

MOST_STILLBORN = 3


class Launcher:
    """Starts the main process of each trial of one experiment; `warm` allows a fork server, where there can be one."""

    def __init__(self, *, warm: bool) -> None:
        self._warm = warm and sys.platform == "linux"
        self._server: ForkServer | None = None
        self._stillborn = 0
        self._log = Path("/dev/null")
        self._said: set[str] = set()

    def prepare(self, command: str, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        """Start a server now, so that it is ready when the first trial is."""
        self._log = log
        script = as_script(command, folder, environment) if self._warm else None
        if script is not None and self._server is None:
            try:
                self._server = ForkServer(script, folder, {**environment, **script.assignments}, log)
            except OSError as error:
                self._warn(f"no fork server can be started: {error}")

    def start(self, spec: TrialSpec, environment: Mapping[str, str], stdout: int, stderr: int) -> Process:
        """Raises OSError where nothing can be started."""
        environment = {**environment, "PWD": str(spec.code_directory.resolve())}
        script = as_script(spec.command, spec.code_directory, environment)
        environment |= script.assignments if script is not None else {}
        if script is not None and self._warm:
            warm = self._fork(script, spec, environment, stdout, stderr)
            if warm is not None:
                return warm
        words = ["/bin/sh", "-c", spec.command] if script is None else script.words
        return SpawnedProcess(words, spec.code_directory, environment, stdout, stderr)

    def _fork(
        self, script: Script, spec: TrialSpec, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> Process | None:
        """A child of the server; None where there cannot be one, with a warning unless that will pass."""
        try:
            server = self._living_server(script, spec, environment)
            obstacle = server.obstacle(script, environment) if server is not None else ""
            if server is None or obstacle:
                if server is not None:
                    self._warn(f"trials start without the fork server: {obstacle}")
                return None
            process = server.start(script, spec.code_directory, environment, stdout, stderr)
        except (OSError, ServerGoneError) as error:
            self._warn(f"the fork server has ended ({error}); trial {spec.number} starts without it")
            return None
        self._stillborn = 0
        return process

    def _warn(self, message: str) -> None:
        """Each thing once."""
        if message not in self._said:
            self._said.add(message)
            log.warning(message)

    def close(self) -> None:
        if self._server is not None and self._server.alive:
            self._server.close()

    def _living_server(self, script: Script, spec: TrialSpec, environment: Mapping[str, str]) -> ForkServer | None:
        """The server, or a new one in the place of one that died; none where they never get ready."""
        if self._server is not None and not self._server.alive:
            self._stillborn += 1
            self._server = None
            if self._stillborn >= MOST_STILLBORN:
                self._warm = False
                self._warn(f"no fork server can be started (see {self._log}); trials start without one")
                return None
        if self._server is None:
            self._server = ForkServer(script, spec.code_directory, environment, self._log)
        return self._server
