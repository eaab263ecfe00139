"""What a schedule is: the tasks that lead from a dense network to its targets.

A schedule is pure Python. It turns the target sparsity of each budget (a layer, or layers that share one) into a
sequence of tasks, and hears how each of them scored; whoever runs the tasks prunes, trains and evaluates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from autoprune.compression.core.config_list import is_integer, is_number
from autoprune.compression.core.errors import CompressionError


@dataclass(frozen=True)
class Task:
    """One round of pruning: the sparsity of each budget, by name. Only tasks at the target may be the best."""

    step: int
    sparsities: Mapping[str, float]
    at_target: bool


class Schedule(ABC):
    """Subclass, give it a `name`, write `tasks` and how many there are.

    `rewinds`: once a task has pruned, the kept weights go back to what they were at the start.
    `searches`: the tasks are alternatives in place of steps on one way. Each starts from the dense weights, every
    layer has a budget of its own, and `tasks` must hear each score, the higher the better.
    """

    name: ClassVar[str]
    rewinds: ClassVar[bool] = False
    searches: ClassVar[bool] = False

    @abstractmethod
    def __len__(self) -> int:
        """How many tasks there are."""

    @abstractmethod
    def tasks(self, targets: Mapping[str, float], sizes: Mapping[str, int]) -> Generator[Task, float | None, None]:
        """The tasks in order; each `yield` gives back the score of its task. `sizes` counts elements."""


@dataclass(frozen=True)
class Stepwise(Schedule):
    """A schedule that is a formula: the sparsity at each step up to `total_iteration`, where the target is met."""

    total_iteration: int = 10
    first_step: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require(
            is_integer(self.total_iteration) and self.total_iteration >= 1,
            f"{self.name}.total_iteration",
            self.total_iteration,
            "a whole number, 1 or more",
        )

    @abstractmethod
    def sparsity(self, step: int, target: float) -> float:
        """The sparsity at a step; at the last one, the target itself."""

    def __len__(self) -> int:
        return self.total_iteration + 1 - self.first_step

    def tasks(self, targets: Mapping[str, float], sizes: Mapping[str, int]) -> Generator[Task, float | None, None]:
        check(self.name, targets, sizes)
        for step in range(self.first_step, self.total_iteration + 1):
            sparsities = {name: self.sparsity(step, target) for name, target in targets.items()}
            yield Task(step, sparsities, at_target=sparsities == targets)


def require(holds: bool, what: str, given: object, expected: str) -> None:
    if not holds:
        raise CompressionError(f"{what}: given {given!r}; expected {expected}")


def check(schedule: str, targets: Mapping[str, float], sizes: Mapping[str, int]) -> None:
    require(bool(targets), f"{schedule}: the targets", targets, "a sparsity for each budget")
    require(targets.keys() == sizes.keys(), f"{schedule}: the sizes", dict(sizes), f"those of {', '.join(targets)}")
    for name, target in targets.items():
        fits = is_number(target) and 0 <= target < 1
        require(fits, f"{schedule}: the target of {name!r}", target, "a number from 0 up to but not 1")
