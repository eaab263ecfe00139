"""What a trial of a task has to know besides its parameters: a file that the manager writes for the experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoprune.records import JSON
from autoprune.search.loading import Source
from autoprune.search.scaling import Budget
from autoprune.taskfile import check_unchanged

VARIABLE = "AUTOPRUNE_SEARCH"


@dataclass(frozen=True)
class Settings:
    """`prepared` is the folder of prepared weights; `search` is the configuration's table of that name. `assessed` is
    whether an assessor judges trials while they train. `folder` is the experiment's, where there is one, and `key` what
    the task was when its study began."""

    task: Source
    prepared: Path
    budget: Budget | None
    search: Mapping[str, JSON]
    seed: int
    maximize: bool
    assessed: bool = False
    folder: Path | None = None
    key: str | None = None

    @classmethod
    def read(cls, file: Path) -> Settings:
        return cls.of(json.loads(file.read_text(encoding="utf-8")))

    @classmethod
    def of(cls, given: Mapping[str, JSON]) -> Settings:
        """From the manager's request."""
        return cls(
            task=Source.of(given["task"], given["arguments"]),
            prepared=Path(given["prepared"]),
            budget=Budget.of(given["budget"]),
            search=given["search"],
            seed=given["seed"],
            maximize=given["maximize"],
            assessed=given.get("assessed", False),
            folder=Path(given["folder"]) if given.get("folder") else None,
            key=given.get("key"),
        )

    def check_task(self) -> None:
        """Raises an error where the task has changed since its study."""
        if self.key is not None:
            check_unchanged(f"{self.task.file}:{self.task.name}", self.task.arguments, self.key)

    @property
    def parts(self) -> list[int]:
        """The epochs of a trial, in the parts after each of which it says how it stands: each epoch where an assessor
        listens, else a quarter and the rest, where there are four or more."""
        epochs: int = self.search["epochs"]
        if self.assessed:
            return [1] * epochs
        first = epochs // 4
        return [first, epochs - first] if first else [epochs]

    @property
    def final_epochs(self) -> int:
        """How long the best model trains on at the end of a search."""
        given: int | None = self.search["finalEpochs"]
        return self.search["epochs"] if given is None else given

    def seed_for(self, *what: object) -> int:
        """A seed in [0, 2**32) for one purpose."""
        said = "/".join(map(str, (self.seed, *what)))
        return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=4).digest())
