"""Annealing: each value drawn near that of one of the best trials, nearer the more trials there are.

The algorithm is hyperopt's. Of each dimension it needs the best trials and how many there were, so that is what is
kept, and an ask takes as long after 10,000 trials as after 100. A trial's rank is drawn from a geometric distribution,
and so many are kept that one beyond them would not be drawn once in 2**53 times. Trials still running narrow the
neighbourhood as they will once they finish.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.search_space import Space
from autoprune.tuners._hyperopt import Document, HyperoptTuner, active_paths, loss_of
from autoprune.tuners.base import NestedArgs, TunerArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hyperopt.base import Domain


class AnnealArgs(NestedArgs):
    avg_best_idx: float = Field(
        2.0, ge=1, allow_inf_nan=False, description="mean rank of the trial to stay near; 1 is always the best"
    )
    shrink_coef: float = Field(0.1, ge=0, description="how fast the neighbourhood shrinks with the number of trials")


class Anneal(HyperoptTuner):
    name = "Anneal"
    Args: ClassVar[type[TunerArgs]] = AnnealArgs

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        assert isinstance(args, AnnealArgs)
        self._kept = ranks_drawn(args.avg_best_idx)
        self._best: dict[str, list[Document]] = {path: [] for path in self._dimensions}
        self._counts: Counter[str] = Counter()

    def learn(self, document: Document) -> None:
        for path in active_paths(document):
            insort(self._best[path], document, key=loss_of)
            del self._best[path][self._kept :]
        self._counts.update(active_paths(document))

    def propose(self, number: int, domain: Domain, running: Sequence[Document]) -> Document:
        from hyperopt.anneal import AnnealingAlgo
        from hyperopt.base import trials_from_docs

        args = self.args
        assert isinstance(args, AnnealArgs)
        best = {document["tid"]: document for documents in self._best.values() for document in documents}
        trials = trials_from_docs([*best.values(), *running], validate=False)
        counts = self._counts + Counter(path for document in running for path in active_paths(document))
        algorithm = AnnealingAlgo(domain, trials, self.seed_for(number), args.avg_best_idx, args.shrink_coef)
        algorithm.shrinking = lambda path: 1 / (1 + counts[path] * args.shrink_coef)
        (asked,) = algorithm(number)
        return dict(asked)


def ranks_drawn(mean: float) -> int:
    """How many ranks a geometric distribution of this mean reaches, but for a share of 2**-53."""
    return 1 if mean == 1 else math.ceil(math.log(2**-53) / math.log1p(-1 / mean))
