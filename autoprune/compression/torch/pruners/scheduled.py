"""`ScheduledPruner`: any pruner on any schedule, with fine-tuning between the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsFloat

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoprune.compression.core import schedules
from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.core.scaling import Units, whole_units
from autoprune.compression.core.schedules import Schedule, Task
from autoprune.compression.torch import rewinding
from autoprune.compression.torch.choosing import Budget
from autoprune.compression.torch.components import fixed_sparsity, granularity_of
from autoprune.compression.torch.layers import filters_first
from autoprune.compression.torch.pruners.base import Masks, Pruner, achieved_sparsity
from autoprune.compression.torch.rewinding import Snapshot
from autoprune.compression.torch.saving import Exported


@dataclass(frozen=True)
class TaskRecord:
    """What became of one task: the sparsity asked of each budget, the one achieved in all, and the score."""

    step: int
    sparsities: Mapping[str, float]
    achieved: float
    score: float | None
    at_target: bool


class ScheduledPruner:
    """Runs a pruner through the tasks of a schedule, and leaves the model as the best of them made it.

    `schedule` is a name with its arguments as keywords, such as `"agp", total_iteration=10`, or a `Schedule`. For
    each task the pruner prunes to the sparsities that the task asks for, `finetuner(model)` trains and
    `evaluator(model)` gives a score, the higher the better. Only tasks at the target sparsity can be the best;
    without an evaluator it is the last one. `on_task` hears the record of each as it ends.

    Tasks continue from one another, but for two kinds of schedules. One that rewinds (lottery_ticket) first trains
    the dense model, and after each pruning puts what is left back to what it was when `compress()` was called. One
    that searches (simulated_annealing) prunes for each task the dense weights of that moment anew, with a sparsity
    for every layer. `optimizer` and `lr_scheduler` go back together with the weights.
    """

    def __init__(
        self,
        pruner: Pruner,
        schedule: str | Schedule,
        *,
        finetuner: Callable[[nn.Module], object] | None = None,
        evaluator: Callable[[nn.Module], SupportsFloat] | None = None,
        optimizer: Optimizer | None = None,
        lr_scheduler: LRScheduler | None = None,
        on_task: Callable[[TaskRecord], object] | None = None,
        **arguments: Any,
    ) -> None:
        if not isinstance(pruner, Pruner):
            raise CompressionError(
                f"ScheduledPruner: given {shown(pruner)}; expected a pruner, such as LevelPruner(...)"
            )
        for name, function in {"finetuner": finetuner, "evaluator": evaluator, "on_task": on_task}.items():
            if function is not None and not callable(function):
                raise CompressionError(f"ScheduledPruner: given {shown(function)} as {name}; expected a function")
        rewinding.check("ScheduledPruner", optimizer, lr_scheduler)
        self.pruner = pruner
        self.schedule = _schedule(schedule, arguments)
        if self.schedule.searches and evaluator is None:
            raise CompressionError(
                f"ScheduledPruner: given the schedule {self.schedule.name} without an evaluator; expected "
                "evaluator=function(model) -> number, the higher the better, because it chooses by score"
            )
        self.history: list[TaskRecord] = []
        self._finetuner, self._evaluator, self._on_task = finetuner, evaluator, on_task
        self._optimizer, self._lr_scheduler = optimizer, lr_scheduler

    @property
    def model(self) -> nn.Module:
        return self.pruner.model

    @property
    def masks(self) -> Masks:
        return self.pruner.masks

    @property
    def best(self) -> TaskRecord | None:
        """The task whose weights the model has at the end: of those at the target, the first with the best score."""
        candidates = [record for record in self.history if record.at_target]
        if self._evaluator is None:
            return candidates[-1] if candidates else None
        return max(candidates, key=lambda record: record.score or 0.0, default=None)

    def compress(self) -> tuple[nn.Module, Masks]:
        """Run every task; returns the model, masked, and its masks."""
        self.history = []
        budgets = self._budgets()
        best, start = None, self._snapshot() if self.schedule.rewinds or self.schedule.searches else None
        if self.schedule.rewinds and self._finetuner is not None:
            self._finetuner(self.model)
        tasks = self.schedule.tasks(
            {name: budget.target for name, budget in budgets.items()},
            {name: sum(target.layer.size for target in budget.targets) for name, budget in budgets.items()},
        )
        task = next(tasks, None)
        while task is not None:
            self._prune(budgets, task, start)
            record = self._try(task)
            self.history.append(record)
            if self.best is record:
                best = self._snapshot() if len(self.history) < len(self.schedule) else None
            if self._on_task is not None:
                self._on_task(record)
            task = _sent(tasks, record.score)
        if best is not None:
            best.restore()
        return self.model, self.masks

    def unwrap(self, *, keep_zeros: bool = False) -> nn.Module:
        """Take the masks off, as the pruner does."""
        return self.pruner.unwrap(keep_zeros=keep_zeros)

    def export(self, path: str | Path) -> Exported:
        """Write weights and masks to files, as the pruner does."""
        return self.pruner.export(path)

    def _budgets(self) -> dict[str, Budget]:
        if type(self.pruner).calc_mask is not Pruner.calc_mask:
            raise CompressionError(
                f"ScheduledPruner: given {type(self.pruner).__name__}, which gives its masks itself; expected a pruner "
                "that scores, because a schedule says how much to prune"
            )
        if self.schedule.searches:
            self.pruner.unwrap()
        budgets: Sequence[Budget] = self.pruner.plan()
        if self.schedule.searches:
            budgets = [single for budget in budgets for single in self._split(budget)]
        return {_name(budget): budget for budget in budgets}

    def _split(self, budget: Budget) -> list[Budget]:
        """A budget for each layer; layers that lose the same filters stay together."""
        entry = budget.targets[0].entry
        granularity = entry.settings.get("granularity", self.pruner.granularity)
        fixed = ["max_sparsity_per_layer"] if "max_sparsity_per_layer" in entry.settings else []
        fixed += [f"the pattern {granularity}"] if fixed_sparsity(granularity) is not None else []
        if fixed:
            raise CompressionError(
                f"ScheduledPruner: {entry.where}: given {' and '.join(fixed)} with the schedule {self.schedule.name}; "
                "expected neither a cap nor a pattern, because this schedule decides how much each layer loses"
            )
        if not budget.allocation.ranks:
            return [budget]
        return [replace(budget, targets=[target]) for target in budget.targets]

    def _prune(self, budgets: Mapping[str, Budget], task: Task, start: Snapshot | None) -> None:
        if start is not None and self.schedule.searches:
            start.restore()
        asked: Mapping[str, float] = {name: task.sparsities[name] for name in budgets}
        if self.schedule.searches:
            asked = whole_units(asked, {name: self._units(budget) for name, budget in budgets.items()})
        self.pruner.prune(
            [
                replace(budget, sparsity=asked[name], target=asked[name] if task.at_target else budget.target)
                for name, budget in budgets.items()
            ]
        )
        if start is not None and self.schedule.rewinds:
            start.rewind()

    def _units(self, budget: Budget) -> Units:
        """What is pruned as one of the layers of a budget, which lose the same units."""
        entry, size = budget.targets[0].entry, sum(target.layer.size for target in budget.targets)
        if budget.coupling is not None:
            return Units(budget.coupling.count, size // max(budget.coupling.count, 1))
        granularity = granularity_of(entry.settings, self.pruner.granularity)
        info = self.pruner.info(budget.targets[0])
        shape = filters_first(info.module, info.weight.detach()).shape
        count = size // max(shape[0], 1) if granularity.in_rows else granularity.count(tuple(shape))
        return Units(count, size // max(count, 1))

    def _try(self, task: Task) -> TaskRecord:
        """Fine-tune and evaluate what the task has pruned."""
        if self._finetuner is not None:
            self._finetuner(self.model)
        score = None if self._evaluator is None else _number(self._evaluator(self.model), task)
        return TaskRecord(task.step, dict(task.sparsities), achieved_sparsity(self.masks), score, task.at_target)

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.model, self._optimizer, self._lr_scheduler)


def _schedule(given: str | Schedule, arguments: Mapping[str, Any]) -> Schedule:
    if isinstance(given, str):
        return schedules.schedule(given, **arguments)
    if not isinstance(given, Schedule):
        raise CompressionError(f"ScheduledPruner: given {shown(given)} as schedule; expected its name or a Schedule")
    if arguments:
        raise CompressionError(
            f"ScheduledPruner: given a {type(given).__name__} and the arguments {', '.join(arguments)}; expected them "
            "in the schedule itself"
        )
    return given


def _name(budget: Budget) -> str:
    """A layer by its name, a pool of layers by its entry, and coupled layers by all their names."""
    if budget.allocation.ranks and len(budget.targets) > 1:
        return budget.targets[0].entry.where
    layers = (target.layer for target in budget.targets)
    return " + ".join(each.name if each.parameter == "weight" else f"{each.name}.{each.parameter}" for each in layers)


def _number(given: SupportsFloat, task: Task) -> float:
    try:
        score = float(given.detach() if isinstance(given, Tensor) else given)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise CompressionError(
            f"ScheduledPruner: given {given!r} as the score of task {task.step}; expected a finite number, the higher "
            "the better (has the fine-tuning diverged?)"
        )
    return score


def _sent(tasks: Generator[Task, float | None, None], score: float | None) -> Task | None:
    try:
        return tasks.send(score)
    except StopIteration:
        return None
