"""`Job`: a task with its settings, and what every trial of it does with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from autoprune.compression.command.subject import on_device_of, tell
from autoprune.compression.torch.untouched import modes_kept
from autoprune.records import JSON, Parameters
from autoprune.search import loading, training
from autoprune.search.channels import Removable, removable
from autoprune.search.learnt import Learnt, learn
from autoprune.search.preparing import dense, prepare
from autoprune.search.pruning import Data, is_gradual, kind_of, pruned
from autoprune.search.scalers import scaler_of
from autoprune.search.scaling import Kind, Scaler
from autoprune.search.settings import Settings
from autoprune.search.space import read_parameters
from autoprune.search.task import Task
from autoprune.search.timing import Notes, Stopwatch


@dataclass(frozen=True)
class Allocation:
    """A pruner, the share of each layer that it prunes, in whole weights or filters, and the budget in numbers."""

    pruner: str
    sparsities: Mapping[str, float]
    budget: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return kind_of(self.pruner)

    @property
    def key(self) -> str:
        """Equal for equal allocations alone."""
        return json.dumps([self.pruner, dict(self.sparsities)], sort_keys=True)


@dataclass(frozen=True)
class Job:
    """How the trials of an experiment, and what is made of the best of them, use its task."""

    settings: Settings
    task: Task
    example: Any

    @classmethod
    def of(cls, settings: Settings) -> Job:
        settings.check_task()
        task = loading.load_task(settings.task)
        with loading.calling(settings.task, "example_input", 0):
            example = task.example_input()
        return cls(settings, task, on_device_of(loading.build(task, settings.task), example))

    def prepare(self) -> None:
        """Make what trials begin with, where it is not there any more: the weights of the dense model, and what gradual
        pruning has taught."""
        prepare(self.task, self.settings.task, self.settings.prepared, tell)
        if any(map(is_gradual, self.settings.search["pruners"])):
            self.learn()

    def learn(self) -> Learnt:
        """What gradual pruning has taught, which is done where it is not there any more."""
        scaler = self.scaler("weights", self.dense())
        weights = sum(group.size for group in scaler.groups)
        return learn(self.settings, self.task, scaler.layers, round(weights * (1 - scaler.even_sparsity)))

    def build(self) -> nn.Module:
        return loading.build(self.task, self.settings.task)

    def dense(self) -> nn.Module:
        """The model as it is before it is pruned."""
        return dense(self.task, self.settings.task, self.settings.prepared)

    @cached_property
    def removable(self) -> Removable:
        """What can be removed of the task's model: of all that it builds, the same."""
        return removable(self.build(), self.example)

    def scaler(self, kind: Kind, model: nn.Module, *, free: bool = False) -> Scaler:
        """What scales sparsities of this kind to the budget; one that is `free` has none."""
        settings = replace(self.settings, budget=None) if free else self.settings
        return scaler_of(kind, model, self.example, settings, self._found(kind))

    def allocation(self, model: nn.Module, parameters: Parameters) -> Allocation:
        """What the parameters of a trial come to within the budget."""
        pruner, sparsities = read_parameters(parameters)
        scaler = self.scaler(kind_of(pruner), model)
        return Allocation(pruner, scaler.scaled(sparsities), scaler.described())

    def pruned(self, model: nn.Module, allocation: Allocation) -> nn.Module:
        """The dense model, masked, or a smaller one; the same at every call."""
        found = self._found(allocation.kind)
        scores = None
        if is_gradual(allocation.pruner):
            learnt = Learnt.of(self.settings)
            if not learnt.is_there:
                learnt = self.learn()
            learnt.begin(model)
            scores = learnt.scores()
        loading.seed_all(self.settings.seed_for("prune"))
        return pruned(model, allocation.pruner, allocation.sparsities, self.example, Data.of(self.task), scores, found)

    def train(self, model: nn.Module, epochs: int, *what: object) -> None:
        """Train in place, with a seed for what it is for."""
        training.train(self.task, self.settings.task, model, epochs, self.settings.seed_for(*what))

    def fine_tuned(self, model: nn.Module, number: int, done: int = 0) -> Iterator[dict[str, float]]:
        """Train as the trial of this number does, from the part that comes after `done` of them; after each, how good
        the model is. The number gives the seeds."""
        for part, epochs in list(enumerate(self.settings.parts))[done:]:
            self.train(model, epochs, "trial", number, part)
            yield self.score(model)

    def score(self, model: nn.Module, method: str = "evaluate") -> dict[str, float]:
        """What `evaluate`, or `test`, says of the model."""
        with modes_kept(model):
            return loading.evaluate(self.task, self.settings.task, model, method)

    def latency(self, model: nn.Module) -> dict[str, float]:
        """How long the model takes, where the budget limits that."""
        budget = self.settings.budget
        if budget is None or budget.kind != "latency":
            return {}
        return Stopwatch(self.dense(), self.example, Notes.of(self.settings)).report(model)

    def offers(self, method: str) -> bool:
        return loading.offers(self.task, method)

    def better(self, one: float, other: float) -> bool:
        """Whether the first value is ahead of the second."""
        return one > other if self.settings.maximize else one < other

    def _found(self, kind: Kind) -> Removable | None:
        return self.removable if kind == "filters" else None
