"""What one gradual pruning of a task's model has taught: with which weights trials of it begin, and which go first.

It is made once for a task, a budget and a number of epochs, and kept beside the prepared weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, load_model, save_file
from torch import Tensor, nn

from autoprune.compression.command.subject import tell
from autoprune.search import training
from autoprune.search.gradual import removal_order, steps_of
from autoprune.search.preparing import alone, dense, save_weights, writing
from autoprune.search.settings import Settings
from autoprune.search.task import Task

_SEED = 0


@dataclass(frozen=True)
class Learnt:
    """The two files, `order` written last."""

    weights: Path
    order: Path

    @classmethod
    def of(cls, settings: Settings) -> Learnt:
        """Where they are, or will be."""
        budget = None if settings.budget is None else [settings.budget.kind, settings.budget.amount]
        said = json.dumps([budget, settings.search["epochs"]])
        key = f"{settings.task.key}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        return cls(settings.prepared / f"{key}.gradual.safetensors", settings.prepared / f"{key}.order.safetensors")

    @property
    def is_there(self) -> bool:
        """Each file is whole where it is."""
        return self.weights.exists() and self.order.exists()

    def scores(self) -> dict[str, Tensor]:
        """Of each weight of each layer, the smaller the sooner it goes."""
        return load_file(self.order)

    def begin(self, model: nn.Module) -> None:
        """Give the model the weights that it had at the end; what had gone by then, those that it had when it went."""
        load_model(model, str(self.weights))


def learn(settings: Settings, task: Task, layers: Sequence[str], kept: int) -> Learnt:
    """Prune gradually to so many weights in these layers, unless that has been done.

    It trains twice, for as many epochs as a trial: the first time to count the steps.
    """
    learnt = Learnt.of(settings)
    waiting = "waits for another process that prunes this model gradually"
    with alone(learnt.order.with_suffix(".lock"), lambda: tell(waiting)):
        if learnt.is_there:
            tell(f"takes the order of a gradual pruning from {learnt.order}")
            return learnt
        source, epochs = settings.task, settings.search["epochs"]

        def train(model: nn.Module) -> None:
            training.train(task, source, model, epochs, _SEED)

        tell("prunes gradually, to learn which weights can go (once; it trains twice)")
        steps = steps_of(dense(task, source, settings.prepared), layers, train)
        model = dense(task, source, settings.prepared)
        order = removal_order(model, layers, kept, steps, train)
        save_weights(model, learnt.weights, source)
        _save_order(order, learnt.order)
    return learnt


def _save_order(order: Mapping[str, Tensor], file: Path) -> None:
    with writing(file) as partial:
        save_file(dict(order), str(partial))
