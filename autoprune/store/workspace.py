"""The workspace: the folder that holds the database and every experiment's files.

autoprune-experiments/
  autoprune.db
  <experiment>/manager.lock
  <experiment>/trials/<n>/attempts/<k>/{parameters.json, metrics.jsonl, stdout, stderr, exit.json}
  <experiment>/trials/<n>/output/
  <experiment>/best/
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import LockedError, UsageError
from autoprune.store.store import Store, open_store

FOLDER = "autoprune-experiments"
VARIABLE = "AUTOPRUNE_WORKSPACE"
_LOCK_TRIES = 5
_LOCK_PAUSE = 0.02


@dataclass(frozen=True)
class Workspace:
    """Where everything is. Holds paths, opens nothing by itself."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "autoprune.db"

    def folder(self, experiment: str) -> Path:
        return self.root / experiment

    def best(self, experiment: str) -> Path:
        """Where the model of the best trial of a task is."""
        return self.folder(experiment) / "best"

    def trial(self, experiment: str, number: int) -> Path:
        return self.folder(experiment) / "trials" / str(number)

    def output(self, experiment: str, number: int) -> Path:
        return self.trial(experiment, number) / "output"

    def attempt(self, experiment: str, number: int, attempt: int) -> Path:
        return self.trial(experiment, number) / "attempts" / str(attempt)

    def manager_log(self, experiment: str) -> Path:
        return self.folder(experiment) / "manager.log"

    def create(self) -> Store:
        """The store, made together with the folder where they do not exist."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise UsageError(f"cannot make the workspace {self.root}: {error.strerror}; give --workspace") from None
        if not os.access(self.root, os.W_OK):
            raise UsageError(f"the workspace {self.root} cannot be written; give another --workspace")
        return open_store(self.database)

    def open(self) -> Store:
        """The store of a workspace that exists."""
        if not self.database.is_file():
            raise UsageError(
                f"no experiments in {self.root}; give --workspace, or start one with: autoprune run config.yml"
            )
        if not os.access(self.root, os.W_OK):
            raise UsageError(
                f"the workspace {self.root} cannot be written, and its database needs that even for reading; "
                "copy it to a place of yours, and give that as --workspace"
            )
        return open_store(self.database)

    @contextmanager
    def lock(self, experiment: str) -> Iterator[None]:
        """Held by the experiment's manager; the system lets go of it however the manager ends."""
        self.folder(experiment).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock_file(experiment), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not _take(descriptor):
                owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                raise LockedError(
                    f"experiment {experiment} is already run by process {owner or '?'}; "
                    f"stop it with: autoprune stop {experiment}"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def locked(self, experiment: str) -> bool:
        """Whether a manager runs this experiment now."""
        try:
            descriptor = os.open(self._lock_file(experiment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _lock_file(self, experiment: str) -> Path:
        return self.folder(experiment) / "manager.lock"


def _take(descriptor: int) -> bool:
    """Lock a file. Whoever only looks whether it is locked holds it for a moment: hence more than one try."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return True
    return False


def find_workspace(given: Path | None, configured: Path | None = None) -> Workspace:
    """The workspace in force: what was given, AUTOPRUNE_WORKSPACE, what the YAML says, else the nearest in the
    current folder or above it, else one in the current folder."""
    variable = os.environ.get(VARIABLE)
    chosen = given or (Path(variable) if variable else None) or configured
    if chosen is not None:
        return Workspace(chosen.expanduser().absolute())
    here = Path.cwd()
    above = (folder / FOLDER for folder in (here, *here.parents))
    return Workspace(next((folder for folder in above if folder.is_dir()), here / FOLDER))
