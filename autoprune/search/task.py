"""`Task`: all that a search has to know of a user's model, on one page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor, nn

Score: TypeAlias = float | Mapping[str, float]
"""A number, or several of which `default` is the one to optimise."""


class Task(ABC):
    """Subclass, and say how to build, train and evaluate your model; the search does the rest.

    `autoprune run` takes the class as `task: task.py:Task`, with what `taskArguments` gives for `__init__`. Every trial
    makes one of its own, in a process of its own, so keep `__init__` and `build` cheap, and load data where it is
    needed. Random generators are seeded before each call.
    """

    @abstractmethod
    def build(self) -> nn.Module:
        """The model as its class builds it, on the device where it is to train; its weights do not matter yet."""

    @abstractmethod
    def train(self, model: nn.Module, epochs: int) -> None:
        """Train the model in place, with an optimizer of your own. It may have masks, or fewer channels than before.

        What is pruned stays pruned, whatever the optimizer. A trial of four epochs or more calls it twice, for a
        quarter of them and for the rest, so that it can go on after half of its work was lost; one that an assessor
        listens to calls it for each epoch, so that it can be stopped. A schedule of the learning rate spans one call.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module) -> Score:
        """How good the model is, on data that neither `train` nor `test` sees."""

    @abstractmethod
    def example_input(self) -> Any:
        """A small input, by which the model is traced and measured: a tensor, a tuple of arguments, or a dict."""

    def prepare(self, model: nn.Module) -> None:  # noqa: B027
        """Give the model, as `build` made it, the weights to prune: train it in full, or load a file.

        It runs once; its result is kept until the task's file or its arguments change. Without it, the weights are
        those of `build`.
        """

    def test(self, model: nn.Module) -> Score:
        """How good the model is on data that nothing else has seen. Called at the end, for a few models.

        The best of many validation scores is partly luck; this shows what is left of it.
        """
        raise NotImplementedError

    def calibration_batches(self) -> Iterable[Any]:
        """A few batches of inputs, or of pairs (inputs, target): for BatchNorm, and for pruners that look at data."""
        raise NotImplementedError

    def loss(self, outputs: Any, target: Any) -> Tensor:
        """What training makes small, for pruners that look at gradients: cross entropy, unless you say otherwise."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, target)
