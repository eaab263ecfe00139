"""In which order weights can go, learnt by pruning gradually while the task trains.

The masks that such a training ends with, put on the dense weights again, keep more accuracy than any that are chosen in
one go. The ranking is Fisher's, w^2 E[g^2], with a running mean over the training's own steps in place of E; what has
gone does not come back (M. Zhu and S. Gupta, 2018; L. Theis et al., 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from autoprune.compression.torch.precision import wide
from autoprune.errors import UsageError

PRUNINGS = 16
"""So many times weights go in the course of a training."""
LAST = 0.8
"""The share of the steps after which no more go: what is left settles."""
_MEMORY = 0.9


def steps_of(model: nn.Module, layers: Sequence[str], train: Callable[[nn.Module], None]) -> int:
    """How many steps the optimizers of these layers take in a training."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with _after_steps(_weights(model, layers).values(), count):
        train(model)
    if not steps:
        raise UsageError(
            "given a task whose train takes no step of a torch optimizer; expected some, after which the pruner "
            "gradual could prune, or search.pruners without it, such as [level]"
        )
    return steps


def removal_order(
    model: nn.Module, layers: Sequence[str], kept: int, steps: int, train: Callable[[nn.Module], None]
) -> dict[str, Tensor]:
    """Train the model, in place, down to so many weights in these layers; of each weight a score, the smaller the
    sooner it went. Those of what is left are the largest.

    The number of weights falls by the same factor each time, and no layer loses all of them.
    """
    course = _Course(_weights(model, layers), kept, steps)
    with _after_steps(course.weights.values(), course.step):
        train(model)
    with torch.no_grad():
        order = course.order()
        course.restore()
    return order


def _weights(model: nn.Module, layers: Sequence[str]) -> dict[str, nn.Parameter]:
    return {name: model.get_submodule(name).get_parameter("weight") for name in layers}


class _Course:
    """Where a gradual pruning stands."""

    def __init__(self, weights: Mapping[str, nn.Parameter], kept: int, steps: int) -> None:
        self.weights = weights
        self._kept = kept
        self._last = max(1, int(steps * LAST))
        self._every = max(1, self._last // PRUNINGS)
        self._done = 0
        self._marks = 0
        self._squares = {name: torch.zeros_like(wide(weight.detach())) for name, weight in weights.items()}
        self._left = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
        self._went = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
        self._values = {name: weight.detach().clone() for name, weight in weights.items()}

    def step(self) -> None:
        """After a step of the optimizer."""
        self._done += 1
        for name, weight in self.weights.items():
            if weight.grad is not None:
                self._squares[name].mul_(_MEMORY).add_(wide(weight.grad).square(), alpha=1 - _MEMORY)
        if self._done <= self._last and (self._done % self._every == 0 or self._done == self._last):
            self._prune(self._done / self._last)
        for name, weight in self.weights.items():
            weight.mul_(self._left[name])

    def restore(self) -> None:
        """Give what went the values that it had then."""
        for name, weight in self.weights.items():
            weight.copy_(torch.where(self._left[name], weight, self._values[name]))

    def order(self) -> dict[str, Tensor]:
        """Those that went in one go, and those that are left, by their last scores. A training that was shorter than
        said is brought to its end first."""
        self._prune(1.0)
        self._mark()
        return {name: went.cpu().contiguous() for name, went in self._went.items()}

    def _prune(self, progress: float) -> None:
        total = sum(weight.numel() for weight in self.weights.values())
        wanted = round(total * (self._kept / total) ** progress)
        self._mark()
        scores = [self._score(name).flatten() for name in self.weights]
        for own in scores:
            own[own.argmax()] = torch.inf
        ranked = torch.cat(scores).argsort(descending=True, stable=True)
        left = torch.zeros(total, dtype=torch.bool, device=ranked.device)
        left[ranked[:wanted]] = True
        parts = torch.split(left, [len(own) for own in scores])
        for (name, weight), part in zip(self.weights.items(), parts, strict=True):
            self._left[name] = part.reshape(weight.shape)

    def _mark(self) -> None:
        """Note of all that is left when it was seen last, and its place among the others of its layer then."""
        self._marks += 1
        for name in self.weights:
            score = self._score(name).flatten()
            place = torch.empty_like(score)
            place[score.argsort()] = torch.linspace(0, 1 - 1e-3, score.numel(), device=score.device)
            went = self._went[name]
            self._values[name] = torch.where(self._left[name], self.weights[name], self._values[name])
            self._went[name] = torch.where(self._left[name], self._marks + place.reshape(went.shape), went)

    def _score(self, name: str) -> Tensor:
        """Smallest where the weight has gone."""
        score = (wide(self.weights[name]).square() * self._squares[name]).float()
        return torch.where(self._left[name], score, -1.0)


@contextmanager
def _after_steps(weights: Iterable[nn.Parameter], call: Callable[[], None]) -> Iterator[None]:
    """Call after each step of an optimizer that has one of these weights."""
    own = {id(weight) for weight in weights}

    def after(optimizer: Optimizer, *_: Any) -> None:
        if any(id(weight) in own for group in optimizer.param_groups for weight in group["params"]):
            with torch.no_grad():
                call()

    hook = register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        hook.remove()
