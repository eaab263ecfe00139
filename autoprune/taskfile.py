"""A task in its file: what it says, in short, and whether it still says what a search began with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from autoprune.errors import UsageError
from autoprune.records import JSON


def task_key(task: str, arguments: Mapping[str, JSON]) -> str:
    """Of `task.py:Task` with its arguments: another one where the file, the class or the arguments are others."""
    file, _, name = task.rpartition(":")
    given = json.dumps([name, dict(arguments)], sort_keys=True)
    return hashlib.sha256(Path(file).read_bytes() + b"\0" + given.encode()).hexdigest()[:24]


def check_unchanged(task: str, arguments: Mapping[str, JSON], key: str) -> None:
    """Raises an error unless it has this key still."""
    if task_key(task, arguments) != key:
        raise UsageError(
            f"{Path(task).name}: given a file that has changed since the search began; expected the same task for all "
            f"of its trials (undo the change in {task.rpartition(':')[0]}, or start a new search with autoprune run)"
        )
