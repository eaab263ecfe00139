"""CMA-ES: a normal distribution that moves, grows and turns towards the better half of each generation.

The library is `cmaes`, on the unit cube of the flattened space: a choice of k is a coordinate cut into k equal parts.
The distribution is worked out from the finished trials, generation by generation; only ranks count, and a trial
without a value is the last. Where the search has converged, it starts anew from a random point with twice the
population, as in IPOP-CMA-ES (Auger and Hansen, 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.records import History, Proposal, Trial
from autoprune.search_space import Space
from autoprune.tuners._flat import in_cube
from autoprune.tuners._generations import GenerationTuner
from autoprune.tuners.base import TunerArgs

if TYPE_CHECKING:
    from cmaes import CMA


class CmaEsArgs(TunerArgs):
    population_size: int | None = Field(
        None,
        ge=4,
        le=1_000_000,
        description="trials in a generation; 4 + 3 ln(dimensions), rounded down, where it is not given",
    )
    sigma: float = Field(1 / 6, gt=0, le=1, description="the first standard deviation, as a share of each range")


class CmaEs(GenerationTuner):
    name = "CmaEs"
    Args: ClassVar[type[TunerArgs]] = CmaEsArgs
    flattens = True

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._optimizer: CMA | None = None

    @property
    def size(self) -> int:
        return int(self._cma.population_size)

    def ask(self, number: int, history: History) -> Proposal:
        self.learn(history)
        self._cma.reseed_rng(self.seed_for(number))
        place = [float(unit) for unit in self._cma.ask()]
        return Proposal(in_cube(self.space, place), {"generation": self.generation, "place": place})

    def close(self, members: Sequence[Trial]) -> None:
        import numpy as np

        losses = [self.loss(trial) for trial in members]
        order = sorted({loss for loss in losses if loss is not None})
        ranks = [len(order) if loss is None else order.index(loss) for loss in losses]
        places = [np.array(trial.tuner_state["place"]) for trial in members]
        worst = ranks.index(max(ranks))
        while len(places) < self.size:
            places.append(places[worst])
            ranks.append(ranks[worst])
        with np.errstate(all="ignore"):
            self._cma.tell(list(zip(places, map(float, ranks), strict=True)))
            if self._cma.should_stop():
                self._restart()

    @property
    def _cma(self) -> CMA:
        if self._optimizer is None:
            args = self.args
            assert isinstance(args, CmaEsArgs)
            self._optimizer = self._new([0.5] * len(self.space.members), args.population_size)
        return self._optimizer

    def _restart(self) -> None:
        random = Random(self.seed_for(-1 - self.generation))
        self._optimizer = self._new([random.random() for _ in self.space.members], 2 * self.size)

    def _new(self, mean: Sequence[float], population_size: int | None) -> CMA:
        import numpy as np
        from cmaes import CMA

        args = self.args
        assert isinstance(args, CmaEsArgs)
        bounds = np.array([[0.0, 1.0]] * len(mean))
        return CMA(np.array(mean), args.sigma, bounds=bounds, population_size=population_size, seed=self.seed)
