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

    def prepare(self, command: str, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        """Start a server now, so that it is ready when the first trial is."""
        self._log = log
        script = as_script(command, folder, environment) if self._warm else None
        if script is not None and self._server is None:
            self._server = ForkServer(script, folder, {**environment, **script.assignments}, log)

    def start(self, spec: TrialSpec, environment: Mapping[str, str], stdout: int, stderr: int) -> Process:
        """Raises OSError where nothing can be started."""
        environment = {**environment, "PWD": str(spec.code_directory.resolve())}
        script = as_script(spec.command, spec.code_directory, environment)
        environment |= script.assignments if script is not None else {}
        server = self._living_server(script, spec, environment) if script is not None and self._warm else None
        if script is not None and server is not None and server.fits(script, environment):
            try:
                return server.start(script, spec.code_directory, environment, stdout, stderr)
            except ServerGoneError as error:
                log.warning("the fork server has ended (%s); trial %d starts without it", error, spec.number)
        words = ["/bin/sh", "-c", spec.command] if script is None else script.words
        return SpawnedProcess(words, spec.code_directory, environment, stdout, stderr)

    def close(self) -> None:
        if self._server is not None and self._server.alive:
            self._server.close()

    def _living_server(self, script: Script, spec: TrialSpec, environment: Mapping[str, str]) -> ForkServer | None:
        """The server, or a new one in the place of one that died; none where they never get ready."""
        if self._server is not None and not self._server.alive:
            self._stillborn = 0 if self._server.ready else self._stillborn + 1
            self._server = None
            if self._stillborn >= MOST_STILLBORN:
                self._warm = False
                log.warning("no fork server can be started (see %s); trials start without one", self._log)
                return None
        if self._server is None:
            self._server = ForkServer(script, spec.code_directory, environment, self._log)
        return self._server
