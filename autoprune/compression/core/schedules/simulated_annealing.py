"""Simulated annealing: search how much each layer is pruned, at one total.

N. Liu et al., "AutoCompress", 2020. Every task is at the target, so all of them compete. Larger layers take larger
sparsities. Each proposal perturbs the current one, less and less as the temperature falls, and replaces it where it
scores better, or else with probability exp(-dE / T). A proposal is a number from 0 to 1 for each layer, of which only
the proportions count once they are scaled to the total: so the steps are as wide at 98 % as at 50 %.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from random import Random

from autoprune.annealing import accepts, perturbed
from autoprune.compression.core.config_list import is_integer, is_number
from autoprune.compression.core.formulas import sparsity_of
from autoprune.compression.core.scaling import scale_to_target
from autoprune.compression.core.schedules.base import Schedule, Task, check, require

_DRAWS = 30
"""How often a proposal is drawn for one that was not tried yet; with a single layer there is none."""


@dataclass(frozen=True)
class SimulatedAnnealing(Schedule):
    """One task at each temperature, from `start_temperature` down to `stop_temperature`.

    A change in score as large as the average one so far has the energy `start_temperature`. Whatever the scale of
    the scores, such a loss is accepted with probability 1/e at the start and, by default, 1/e^5 at the end.
    """

    name = "simulated_annealing"
    searches = True

    start_temperature: float = 100
    stop_temperature: float = 20
    cool_down_rate: float = 0.9
    perturbation_magnitude: float = 0.35
    seed: int = 0

    def __post_init__(self) -> None:
        start, stop = self.start_temperature, self.stop_temperature
        self._require("start_temperature", is_number(start) and 0 < start < math.inf, "a finite number above 0")
        self._require(
            "stop_temperature",
            is_number(stop) and 0 < stop <= start,
            f"a number above 0, at most start_temperature, which is {start!r}",
        )
        for between in ("cool_down_rate", "perturbation_magnitude"):
            value = getattr(self, between)
            self._require(between, is_number(value) and 0 < value < 1, "a number between 0 and 1")
        self._require("seed", is_integer(self.seed), "a whole number")

    def __len__(self) -> int:
        cooling = math.log(self.start_temperature) - math.log(self.stop_temperature)
        return 1 + math.floor(cooling / -math.log(self.cool_down_rate) + 1e-9)

    def tasks(self, targets: Mapping[str, float], sizes: Mapping[str, int]) -> Generator[Task, float | None, None]:
        check(self.name, targets, sizes)
        random, total = Random(self.seed), _total(targets, sizes)

        def allocate(proposal: Mapping[str, float]) -> dict[str, float]:
            return scale_to_target(larger_to_larger(proposal, sizes), sizes, total)

        current = {name: random.random() for name in targets}
        tried = [allocate(current)]
        score = self._heard(0, (yield Task(0, tried[0], at_target=True)))
        changes = 0.0
        for step in range(1, len(self)):
            heat = self.cool_down_rate**step
            for _ in range(_DRAWS):
                proposal = perturbed(current, self.perturbation_magnitude * heat, random)
                if (sparsities := allocate(proposal)) not in tried:
                    break
            tried.append(sparsities)
            new_score = self._heard(step, (yield Task(step, sparsities, at_target=True)))
            changes += abs(new_score - score)
            if new_score >= score or accepts((score - new_score) / (changes / step), heat, random):
                current, score = proposal, new_score

    def _heard(self, step: int, score: float | None) -> float:
        given = score is not None and math.isfinite(score)
        require(given, f"{self.name}: the score of task {step}", score, "a finite number, the higher the better")
        return float(score or 0)

    def _require(self, argument: str, holds: bool, expected: str) -> None:
        require(holds, f"{self.name}.{argument}", getattr(self, argument), expected)


def larger_to_larger(sparsities: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, float]:
    """The same sparsities, dealt out anew: the larger a layer, the larger its share. Equals keep their order."""
    ranked = sorted(sparsities, key=lambda name: (sizes[name], sparsities[name]))
    dealt = dict(zip(ranked, sorted(sparsities.values()), strict=True))
    return {name: dealt[name] for name in sparsities}


def _total(targets: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    """The sparsity of all layers together, as far as every layer can keep an element."""
    elements = sum(sizes[name] for name in targets)
    wanted = math.floor(math.fsum(sizes[name] * target for name, target in targets.items()) + 1e-9)
    most = elements - sum(1 for name in targets if sizes[name])
    return sparsity_of(min(wanted, most), elements)
