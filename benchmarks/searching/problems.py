"""`Problem`: something that can be pruned to a budget, and what it is worth then."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tuners import ALLOCATION, DENSE, METHODS, SIZES, TARGET, best_allocation, damage, lost, total

from autoprune.compression.core.scaling import scale_to_target
from autoprune.records import Parameters, StartingPoint
from autoprune.search_space import Space, space_from_plain


@dataclass(frozen=True)
class Options:
    """How trials are made cheaper, or other than the experiments say; and where prepared networks are kept."""

    work: Path
    images: int | None = None
    data: str | None = None
    prepare_epochs: int | None = None
    epochs: int | None = None
    pruners: tuple[str, ...] | None = None
    fastnas_python: str | None = None


@dataclass(frozen=True)
class Tried:
    """What a trial says: accuracy on validation data, and how much of the dense whole the allocation uses."""

    value: float
    used: float


@dataclass(frozen=True)
class Refit:
    """The same after a fresh training, with the accuracy on test data."""

    value: float
    test: float
    used: float


class Problem(ABC):
    """Accuracies are in points, and more is better. `limit` is the share of the dense whole that may be used."""

    name: str
    seed: int
    limit: float
    dense: float
    space: Space
    classical: Space
    """The space without gradual pruning, as rivals search it."""
    raw: Space
    """What is searched where sparsities are not scaled: each up to .99, as users of other tools write it."""
    starts: Sequence[StartingPoint]
    leaders = 3
    repeats = 2

    @abstractmethod
    def allocation(self, parameters: Parameters, scaled: bool) -> str:
        """What these parameters come to; equal for equal allocations alone."""

    @abstractmethod
    def trial(self, parameters: Parameters, scaled: bool, number: int) -> Tried:
        """The trial of this number, which gives its seed."""

    @abstractmethod
    def refit(self, parameters: Parameters, number: int, times: int = 1) -> Refit:
        """Once more with a seed of its own, exactly at the budget, and trained so many times as long."""


class Function(Problem):
    """The synthetic task of `tuners.py`: 12 layers of which 80 % go, with noise. Test values have none.

    There is no network that a rule could look at, so the one starting point is uniform.
    """

    name = "allocation"
    noise = 0.3
    dense = DENSE
    limit = 1 - TARGET

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.space = self.classical = self.raw = space_from_plain(ALLOCATION)
        uniform = {"_name": next(iter(METHODS)), **{f"conv{layer}": TARGET for layer in range(len(SIZES))}}
        self.starts = [StartingPoint("uniform", {"prune_method": uniform})]

    @staticmethod
    def optimum() -> float:
        return DENSE - lost(damage(best_allocation()))

    def allocation(self, parameters: Parameters, scaled: bool) -> str:
        return json.dumps(self._sparsities(parameters, scaled))

    def trial(self, parameters: Parameters, scaled: bool, number: int) -> Tried:
        sparsities = self._sparsities(parameters, scaled)
        luck = Random(f"{self.seed}/{number}").gauss(0, self.noise)
        return Tried(self._accuracy(parameters, sparsities) + luck, 1 - total(sparsities))

    def refit(self, parameters: Parameters, number: int, times: int = 1) -> Refit:
        tried = self.trial(parameters, True, number)
        return Refit(tried.value, self._accuracy(parameters, self._sparsities(parameters, True)), tried.used)

    def _sparsities(self, parameters: Parameters, scaled: bool) -> list[float]:
        method = parameters["prune_method"]
        given = [float(method[f"conv{layer}"]) for layer in range(len(SIZES))]
        return self._scaled(given) if scaled else given

    @staticmethod
    def _scaled(sparsities: Sequence[float]) -> list[float]:
        """To the target, counted in thousandths of the sizes."""
        named = {str(layer): value for layer, value in enumerate(sparsities)}
        sizes = {str(layer): 1000 * size for layer, size in enumerate(SIZES)}
        return list(scale_to_target(named, sizes, TARGET).values())

    @staticmethod
    def _accuracy(parameters: Parameters, sparsities: Sequence[float]) -> float:
        return DENSE - lost(METHODS[parameters["prune_method"]["_name"]] * damage(sparsities))
