"""One shot: a single task, at the target."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass

from autoprune.compression.core.schedules.base import Schedule, Task, check


@dataclass(frozen=True)
class OneShot(Schedule):
    """Prunes to the target at once."""

    name = "one_shot"

    def __len__(self) -> int:
        return 1

    def tasks(self, targets: Mapping[str, float], sizes: Mapping[str, int]) -> Generator[Task, float | None, None]:
        check(self.name, targets, sizes)
        yield Task(0, dict(targets), at_target=True)
