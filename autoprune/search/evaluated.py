"""Allocations that trials of an experiment have evaluated: one file each, so that none is trained twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.search.job import Allocation
from autoprune.search_space.leaves import is_number


@dataclass(frozen=True)
class Known:
    """The trial that has evaluated an allocation, and its final result."""

    trial: int
    report: Mapping[str, JSON]


@dataclass(frozen=True)
class Evaluated:
    """Trials that run side by side share it: a file is there only when it is whole, and the first one stays."""

    folder: Path

    def find(self, allocation: Allocation) -> Known | None:
        try:
            return Known(**json.loads(self._file(allocation).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def add(self, allocation: Allocation, trial: int, report: Mapping[str, JSON]) -> None:
        """Remember a result, unless it is no number: that trial counts for nothing."""
        if not is_number(report[DEFAULT]):
            return
        file = self._file(allocation)
        self.folder.mkdir(exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        try:
            partial.write_text(json.dumps({"trial": trial, "report": report}), encoding="utf-8")
            with suppress(FileExistsError):
                file.hardlink_to(partial)
        finally:
            partial.unlink(missing_ok=True)

    def _file(self, allocation: Allocation) -> Path:
        return self.folder / f"{hashlib.blake2b(allocation.key.encode(), digest_size=16).hexdigest()}.json"
