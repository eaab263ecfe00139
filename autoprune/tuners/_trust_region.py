"""A trust region: improvement is looked for near what is best, as far as a model of the results can be trusted.

The model is a Gaussian process over the best and the newest results. What is best is what the model says is best of
all that was tried, so a lucky result is not. Candidates lie around it and on lines through two of the best few; the
one that promises the most improvement comes first. The region widens when a trial is ahead of the mean of the best
few before it, and narrows when it is not, so that in the long run one in five is.

A model of the whole space tends to stay at the first good point, or to look where nothing is known and nothing to be
found. On `allocation` of benchmarks/tuners.py this is 0.6 points from the optimum after 100 trials; a Gaussian process
over the whole space is 0.9, flattened TPE 1.1. Neither 50 layers nor 200 trials turned that round.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import exp

import numpy as np

from autoprune.records import JSON, Parameters
from autoprune.search_space import Leaf, Space
from autoprune.tuners._coordinates import Coordinates
from autoprune.tuners._gaussian_process import Array, expected_improvement, fit

BEST, NEWEST = 50, 50
ELITE = 5
CANDIDATES = 300
MOVED = 20
"""Where there are more coordinates, about so many of a candidate differ from where it comes from."""
SWITCHED, EXPLORING = 0.2, 0.1
"""The share of candidates with another option of a choice; of answers for which all candidates have one."""
SUCCESS, RATE = 0.2, 0.5
RADIUS, NARROWEST, WIDEST = 0.3, 0.02, 3.0
LARGEST = 1e100
"""Losses are squared, and their squares have to be finite."""


@dataclass
class Result:
    """What came of one place: the mean of `count` losses."""

    place: Array
    loss: float = 0.0
    count: int = 0


class TrustRegion:
    """`radius` is the standard deviation of a step."""

    def __init__(self, space: Space, densities: Mapping[str, Leaf]) -> None:
        self._coordinates = Coordinates(space, densities)
        self._results: dict[tuple[float, ...], Result] = {}
        self._losses: list[float] = []
        self.radius = RADIUS

    def __len__(self) -> int:
        """How many places are known."""
        return len(self._results)

    def learn(self, point: Parameters, loss: float, proposed: bool) -> None:
        """A result: of a trial that the region proposed, which also says how well it does, or of any other."""
        loss = min(max(loss, -LARGEST), LARGEST)
        if proposed and self._losses:
            ahead = loss < sum(self._losses[:ELITE]) / len(self._losses[:ELITE])
            self.radius = min(max(self.radius * exp(RATE * (ahead - SUCCESS)), NARROWEST), WIDEST)
        insort(self._losses, loss)
        place = self._coordinates.place(point)
        known = self._results.setdefault(tuple(place.round(6)), Result(place))
        known.count += 1
        known.loss += (loss - known.loss) / known.count

    def proposals(self, running: Sequence[Parameters], seed: int) -> Iterator[dict[str, JSON]]:
        """Points to try, the most promising first."""
        random = np.random.default_rng(seed)
        results = self._modelled()
        places = np.array([result.place for result in results])
        losses = capped(np.array([result.loss for result in results]))
        counts = np.array([float(result.count) for result in results])
        compared = self._coordinates.compared(places)
        model = fit(compared, losses, counts)
        if running:
            waiting = np.array([self._coordinates.place(point) for point in running])
            believed = self._coordinates.compared(waiting)
            model = fit(
                compared + believed,
                np.concatenate([losses, model.at(believed)[0]]),
                np.concatenate([counts, np.ones(len(waiting))]),
            )
        expected = model.at(compared)[0]
        best = np.argsort(expected, kind="stable")[:ELITE]
        candidates = self._candidates(places[best], random)
        mean, deviation = model.at(self._coordinates.compared(candidates))
        promise = expected_improvement(mean, deviation, expected[best[0]])
        for index in np.argsort(-promise, kind="stable"):
            yield self._coordinates.point(candidates[index])

    def _modelled(self) -> list[Result]:
        """The newest results and the best of the others."""
        results = list(self._results.values())
        older = nsmallest(BEST, results[:-NEWEST], key=lambda result: result.loss)
        return [*older, *results[-NEWEST:]]

    def _candidates(self, best: Array, random: np.random.Generator) -> Array:
        """Places to choose from: half around the best, half on lines through two of the best few."""
        half, dimensions = CANDIDATES // 2, best.shape[1]
        steps = random.standard_normal((2 * half, dimensions)) * random.choice([0.5, 1, 2], (2 * half, 1))
        steps *= self.radius * (random.random(steps.shape) < MOVED / dimensions)
        starts, ends = (best[random.integers(len(best), size=half)] for _ in range(2))
        lines = random.uniform(-0.5, 1.5, (half, 1)) * (ends - starts)
        steps[half:] = lines + steps[half:] / 2
        origins = np.concatenate([np.repeat(best[:1], half, axis=0), starts])
        chance = 1.0 if random.random() < EXPLORING else SWITCHED
        return self._coordinates.switched(self._coordinates.moved(origins, steps), chance, random)


def capped(losses: Array) -> Array:
    """The losses, those far worse than the median brought near: how bad they are teaches nothing about the best."""
    middle = float(np.median(losses))
    least = float(losses.min())
    return np.minimum(losses, middle + 2 * (middle - least)) if least < middle else losses
