"""Simulated annealing: a step away from the present point, taken where it is better, and now and then where not.

The algorithm is that of the schedule of the same name, and of N. Liu et al., "AutoCompress", 2020. Every number moves
on its unit interval, by up to `perturbation_magnitude` at the start temperature and less as it falls; a choice takes
another option with that probability. A result that is worse is accepted with probability exp(-dE / T), where a change
as large as the average one so far has the energy `start_temperature`: whatever the scale of the results, such a loss
passes with probability 1/e at the start and, by default, 1/e^5 at the end. From there on the temperature stays.

It begins at the best of the starting points, whose larger layers are mostly the sparser ones, or else at random. The
course is read off the finished trials: the temperature is the trial's own, and whether it was accepted is drawn from
its number. Trials side by side are steps from one point. A trial from elsewhere is taken where it is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from pydantic import Field, model_validator

from autoprune.annealing import accepts, perturbed
from autoprune.records import History, Proposal, Trial, TrialState
from autoprune.search_space import Choice, Dimension, Space, sample, suggest
from autoprune.tuners._sequence import Sequence, position_of, state
from autoprune.tuners.base import Tuner, TunerArgs


class SimulatedAnnealingArgs(TunerArgs):
    start_temperature: float = Field(100.0, gt=0, allow_inf_nan=False, description="the first temperature")
    stop_temperature: float = Field(20.0, gt=0, allow_inf_nan=False, description="the temperature that is kept at last")
    cool_down_rate: float = Field(0.9, gt=0, lt=1, description="share of the temperature that a trial leaves")
    perturbation_magnitude: float = Field(
        0.35, gt=0, lt=1, description="how far a parameter moves at the start temperature, as a share of its range"
    )

    @model_validator(mode="after")
    def _cools(self) -> Self:
        if self.stop_temperature > self.start_temperature:
            raise ValueError(f"stop_temperature at most start_temperature, which is {self.start_temperature:g}")
        return self


@dataclass(frozen=True)
class Present:
    """Where the search stands."""

    flat: Mapping[str, float]
    loss: float


class SimulatedAnnealing(Tuner):
    name = "SimulatedAnnealing"
    Args: ClassVar[type[TunerArgs]] = SimulatedAnnealingArgs
    flattens = True

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._steps = Sequence()
        self._present: Present | None = None
        self._changes: list[float] = []
        self._seen = 0

    def ask(self, number: int, history: History) -> Proposal:
        for trial in history.finished[self._seen :]:
            self._learn(trial)
        self._seen = len(history.finished)
        step, random = self._steps.next(history), Random(self.seed_for(number))
        if self._present is None:
            return Proposal(sample(self.space, random), state(step))
        return Proposal(self._step(self._present.flat, self.heat(step), random), state(step))

    def heat(self, step: int) -> float:
        """The share of the start temperature that is left."""
        args = self.args
        assert isinstance(args, SimulatedAnnealingArgs)
        return float(max(args.cool_down_rate**step, args.stop_temperature / args.start_temperature))

    def _learn(self, trial: Trial) -> None:
        """Move to where a trial was, if it is accepted."""
        loss, flat = self.loss(trial), self.flat(trial)
        if loss is None or flat is None or trial.state is not TrialState.SUCCEEDED or trial.repeat_of is not None:
            return
        step = position_of(trial)
        if self._present and step >= 0:
            self._changes.append(abs(loss - self._present.loss))
        if self._present is None or loss <= self._present.loss or (step >= 0 and self._bears(loss, trial.number, step)):
            self._present = Present(flat, loss)

    def _bears(self, loss: float, number: int, step: int) -> bool:
        """Whether a loss above the present one is accepted."""
        assert self._present
        mean = math.fsum(self._changes) / len(self._changes)
        return accepts((loss - self._present.loss) / mean, self.heat(step), Random(self.seed_for(-1 - number)))

    def _step(self, flat: Mapping[str, float], heat: float, random: Random) -> dict[str, object]:
        """Parameters near those of the present point."""
        args = self.args
        assert isinstance(args, SimulatedAnnealingArgs)
        magnitude = args.perturbation_magnitude * heat
        numbers = {path: leaf for path, leaf in self.space.dimensions() if not isinstance(leaf, Choice)}
        moved = perturbed({path: leaf.to_unit(flat[path]) for path, leaf in numbers.items()}, magnitude, random)

        def pick(path: str, dimension: Dimension) -> float:
            if not isinstance(dimension, Choice):
                return dimension.from_unit(moved[path])
            others = [index for index in range(len(dimension.options)) if index != flat[path]]
            return random.choice(others) if others and random.random() < magnitude else flat[path]

        return suggest(self.space, pick)
