"""NetAdapt: in each round every parameter is pruned a step more, and the best of the round is where the next begins.

T.-J. Yang et al., "NetAdapt", ECCV 2018, begin with the whole network, tighten the budget a little in each round, and
let one layer at a time pay for it. Here every trial meets the whole budget from the start: as one parameter is pruned
more, the scaling to the budget gives the others back what it saves, and a round asks which layer should pay for the
others. So this is a greedy descent at one budget, where the paper's is a path through many.

A step takes the share `step` of what is left between a number and its upper bound: of the density, where the number is
a sparsity. A choice takes its next option. After a round in which nothing was better, the next goes the other way: it
gives back what a step takes. After both ways failed, the step halves. The search begins at the best of the starting
points, or else in the middle of the space; a better trial from elsewhere is where it goes on. Trials that start while
the last ones of a round still run take half a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from autoprune.records import History, Proposal, Trial, TrialState
from autoprune.search_space import Choice, Dimension, RandInt, Space, defaults, flatten, suggest
from autoprune.tuners._generations import GenerationTuner, generation_of
from autoprune.tuners.base import TunerArgs

LEAST = 1e-3
"""The density that a number at its upper bound is taken to have, so that it can leave it."""


class NetAdaptArgs(TunerArgs):
    step: float = Field(0.3, gt=0, lt=1, description="share of its density that a parameter loses in the first rounds")


class NetAdapt(GenerationTuner):
    """A generation is a round. Without starting points, the first one tries the middle in place of a first step."""

    name = "NetAdapt"
    Args: ClassVar[type[TunerArgs]] = NetAdaptArgs
    seeded = False
    flattens = True

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        assert isinstance(args, NetAdaptArgs)
        self._dimensions = dict(space.dimensions())
        self._centre: Mapping[str, float] = flatten(space, defaults(space))
        self._loss: float | None = None
        self._step = args.step
        self._forward = True
        self._failures = 0

    @property
    def size(self) -> int:
        return len(self._dimensions)

    def ask(self, number: int, history: History) -> Proposal:
        self.learn(history)
        mates = [trial for trial in history.running if generation_of(trial) == self.generation]
        move = max((int(trial.tuner_state["move"]) for trial in (*self._members, *mates)), default=-1) + 1
        state = {"generation": self.generation, "move": move}
        if self._loss is None and move == 0:
            return Proposal(suggest(self.space, lambda path, _: self._centre[path]), state)
        halvings, chosen = divmod(move, self.size)
        path = list(self._dimensions)[chosen]
        moved = self._moved(self._dimensions[path], self._centre[path], self._step / 2**halvings)
        return Proposal(suggest(self.space, lambda at, _: moved if at == path else self._centre[at]), state)

    def close(self, members: Sequence[Trial]) -> None:
        joined = [self._joins(trial) for trial in members]
        if any(joined):
            self._failures = 0
            return
        self._failures += 1
        self._forward = not self._forward
        if self._failures % 2 == 0:
            self._step /= 2

    def late(self, trial: Trial) -> None:
        self._joins(trial)

    def stranger(self, trial: Trial) -> None:
        self._joins(trial)

    def _joins(self, trial: Trial) -> bool:
        """Make a trial the centre if it is better."""
        loss, flat = self.loss(trial), self.flat(trial)
        if loss is None or flat is None or trial.state is not TrialState.SUCCEEDED or trial.repeat_of is not None:
            return False
        if self._loss is not None and loss >= self._loss:
            return False
        self._centre, self._loss = flat, loss
        return True

    def _moved(self, dimension: Dimension, value: float, step: float) -> float:
        """The value a step further, or back."""
        if isinstance(dimension, Choice):
            return (value + (1 if self._forward else -1)) % len(dimension.options)
        kept = 1 - step if self._forward else 1 / (1 - step)
        moved = dimension.from_unit(max(0.0, 1 - max(1 - dimension.to_unit(value), LEAST) * kept))
        if moved == value and isinstance(dimension, RandInt):
            return dimension.round(value + (1 if self._forward else -1))
        return moved
