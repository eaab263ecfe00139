"""NSGA-II: children of the trials that no others dominate, where they are sparse; for one objective or several.

As in Deb, Pratap, Agarwal and Meyarivan (2002), on the flattened space: the first generation is random; parents are
the best of all generations so far; they are paired by tournaments and crossed (simulated binary crossover), and their
children mutated (polynomial mutation), numbers on the unit interval. Options of a choice are exchanged and drawn
anew. Enqueued and imported trials join the selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import ClassVar

from pydantic import Field

from autoprune import pareto
from autoprune.records import History, Proposal, Trial
from autoprune.search_space import Choice, Dimension, Space, sample, suggest
from autoprune.tuners._generations import GenerationTuner
from autoprune.tuners.base import ObjectivesArgs, TunerArgs

ETA = 5.0
"""The distribution index of crossover and mutation: the higher, the closer children stay to their parents.

The paper's is 20, for searches of 25,000 trials. In searches of 60 and 200, 5 was ahead of it: with one objective on
layers' sparsities and on a bowl of 12 dimensions, and by the area under the front with two."""


ONE, SEVERAL = 20, 50
"""Trials in a generation. Measured over 60 to 500 trials: with one objective few are enough, a front needs more."""


class NSGA2Args(ObjectivesArgs):
    population_size: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="trials in a generation, and parents of the next; by default 20, or 50 with several objectives",
    )
    mutation_prob: float | None = Field(
        None, ge=0, le=1, description="probability that a parameter mutates; 1 / their number where it is not given"
    )
    crossover_prob: float = Field(0.9, ge=0, le=1, description="probability that a child has two parents")


@dataclass(frozen=True)
class Individual:
    """What is known of a trial: its genes by path (units, or indices of options), and how good it is."""

    genes: Mapping[str, float]
    losses: tuple[float, ...]
    rank: int = 0
    room: float = inf


class NSGA2(GenerationTuner):
    name = "NSGA2"
    Args: ClassVar[type[TunerArgs]] = NSGA2Args
    flattens = True

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._dimensions = dict(space.dimensions())
        self._pool: list[Individual] = []
        self._parents: list[Individual] = []

    @property
    def size(self) -> int:
        assert isinstance(self.args, NSGA2Args)
        return self.args.population_size or (SEVERAL if self.objectives else ONE)

    def ask(self, number: int, history: History) -> Proposal:
        self.learn(history)
        random = Random(self.seed_for(number))
        state = {"generation": self.generation}
        if not self._parents:
            return Proposal(sample(self.space, random), state)
        genes = self._child(random)

        def pick(path: str, dimension: Dimension) -> float:
            return genes[path] if isinstance(dimension, Choice) else dimension.from_unit(genes[path])

        return Proposal(suggest(self.space, pick), state)

    def stranger(self, trial: Trial) -> None:
        self._join(trial)

    def late(self, trial: Trial) -> None:
        self._join(trial)

    def close(self, members: Sequence[Trial]) -> None:
        for trial in members:
            self._join(trial)
        self._parents = selected([*self._parents, *self._pool], self.size)
        self._pool = []

    def _join(self, trial: Trial) -> None:
        """Have a trial take part in the next selection, if it has a result in this space."""
        losses, flat = self.losses(trial), self.flat(trial)
        if losses is None or flat is None:
            return
        genes = {
            path: value if isinstance(dimension := self._dimensions[path], Choice) else dimension.to_unit(value)
            for path, value in flat.items()
        }
        self._pool.append(Individual(genes, losses))

    def _child(self, random: Random) -> dict[str, float]:
        args = self.args
        assert isinstance(args, NSGA2Args)
        mother, father = (tournament(self._parents, random) for _ in range(2))
        paired = random.random() < args.crossover_prob
        genes = self._crossed(mother.genes, father.genes, random) if paired else dict(mother.genes)
        chance = 1 / len(genes) if args.mutation_prob is None else args.mutation_prob
        mutating = [path for path in genes if random.random() < chance]
        if not mutating and chance and genes in (mother.genes, father.genes):
            mutating = [random.choice(list(genes))]
        return genes | {path: self._mutated(path, genes[path], random) for path in mutating}

    def _mutated(self, path: str, gene: float, random: Random) -> float:
        """A number moved, or another option of a choice."""
        dimension = self._dimensions[path]
        if not isinstance(dimension, Choice):
            return mutated(gene, random.random())
        others = [index for index in range(len(dimension.options)) if index != gene]
        return random.choice(others) if others else gene

    def _crossed(self, mother: Mapping[str, float], father: Mapping[str, float], random: Random) -> dict[str, float]:
        """One of the two children, each gene crossed, or taken from one parent, with even chances."""
        child = {}
        for path, dimension in self._dimensions.items():
            one, other = (mother[path], father[path]) if random.random() < 0.5 else (father[path], mother[path])
            blend = not isinstance(dimension, Choice) and random.random() < 0.5
            child[path] = crossed(one, other, random.random()) if blend else one
        return child


def selected(pool: Sequence[Individual], count: int) -> list[Individual]:
    """The best of a pool, whole fronts and the sparse part of the last, each with its rank and room."""
    survivors: list[Individual] = []
    for rank, front in enumerate(pareto.fronts([individual.losses for individual in pool], count)):
        room = pareto.crowding([pool[index].losses for index in front])
        graded = [replace(pool[i], rank=rank, room=own) for i, own in zip(front, room, strict=True)]
        graded.sort(key=lambda individual: -individual.room)
        survivors += graded[: count - len(survivors)]
    return survivors


def tournament(parents: Sequence[Individual], random: Random) -> Individual:
    """The better of two at random: of the lower rank, or else with more room."""
    one, other = random.choice(parents), random.choice(parents)
    return min(one, other, key=lambda individual: (individual.rank, -individual.room))


def crossed(one: float, other: float, u: float) -> float:
    """Simulated binary crossover: the child near `one`, at `u` of the spread's distribution."""
    spread = (2 * u) ** (1 / (ETA + 1)) if u <= 0.5 else (2 * (1 - u)) ** (-1 / (ETA + 1))
    return _inside(((1 + spread) * one + (1 - spread) * other) / 2)


def mutated(gene: float, u: float) -> float:
    """Polynomial mutation: the gene moved by what is at `u` of the step's distribution."""
    step = (2 * u) ** (1 / (ETA + 1)) - 1 if u < 0.5 else 1 - (2 * (1 - u)) ** (1 / (ETA + 1))
    return _inside(gene + step)


def _inside(gene: float) -> float:
    return min(max(gene, 0.0), 1.0)
