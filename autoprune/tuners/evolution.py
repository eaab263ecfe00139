"""Aging evolution: a copy of the best of some recent trials, with one of its values changed.

Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019: the population is the newest
trials, whatever they are worth, so that a lucky result dies out unless its children do well. A tournament is drawn
from it, and the winner is copied. Nothing waits for a generation to end, so trials still running are simply not in
the population yet.

The paper draws a quarter of its population, for searches of 20,000 trials. Searches here last for hundreds, and half
of the population was ahead of a quarter after 100 and 200 trials on both functions of `benchmarks/tuners.py`. So were
numbers changed by a step, with a fifth of the unit interval as its standard deviation, ahead of numbers drawn anew
after 200.
"""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.records import History, Proposal
from autoprune.search_space import Choice, Dimension, sample, suggest
from autoprune.tuners.base import NestedArgs, Tuner, TunerArgs

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP = 0.2


class EvolutionArgs(NestedArgs):
    population_size: int = Field(
        32, ge=1, le=1_000_000, description="newest trials with a value that may have children"
    )
    tournament_size: int = Field(16, ge=1, description="trials drawn from the population, the best of which is copied")


class Evolution(Tuner):
    name = "Evolution"
    Args: ClassVar[type[TunerArgs]] = EvolutionArgs

    def ask(self, number: int, history: History) -> Proposal:
        args = self.args
        assert isinstance(args, EvolutionArgs)
        random = Random(self.seed_for(number))
        known = ((self.loss(trial), self.flat(trial)) for trial in reversed(history.finished))
        usable = ((loss, flat) for loss, flat in known if loss is not None and flat is not None)
        population = list(islice(usable, args.population_size))
        if len(population) < args.population_size:
            return Proposal(sample(self.space, random))
        tournament = random.sample(population, min(args.tournament_size, len(population)))
        _, parent = min(tournament, key=lambda pair: pair[0])
        return Proposal(self._mutated(parent, random))

    def _mutated(self, parent: Mapping[str, float], random: Random) -> Mapping[str, object]:
        """The parent's parameters with another value somewhere, and what that opens drawn anew."""
        dimensions = dict(self.space.dimensions())
        mutable = [path for path in parent if _values(dimensions[path]) != 1]
        mutated = random.choice(mutable) if mutable else None

        def pick(path: str, dimension: Dimension) -> float:
            if path == mutated:
                return _changed(dimension, parent[path], random)
            return parent[path] if path in parent else _drawn(dimension, random)

        return suggest(self.space, pick)


def _values(dimension: Dimension) -> int | None:
    """How many values there are; None where there is no end of them."""
    return len(dimension.options) if isinstance(dimension, Choice) else dimension.count


def _drawn(dimension: Dimension, random: Random) -> float:
    if isinstance(dimension, Choice):
        return random.randrange(len(dimension.options))
    return dimension.from_unit(random.random())


def _changed(dimension: Dimension, value: float, random: Random) -> float:
    """Another value: of a choice any other option, of a number one near, reflected at the bounds.

    Where a step leads back to the same value, as it may where there are few, longer ones are tried.
    """
    if isinstance(dimension, Choice):
        return random.choice([index for index in range(len(dimension.options)) if index != value])
    changed, spread = value, STEP
    while changed == value and spread < 1000:
        u = dimension.to_unit(value) + random.gauss(0, spread)
        changed = dimension.from_unit(abs((u + 1) % 2 - 1))
        spread *= 2
    return changed
