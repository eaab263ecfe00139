"""hyperopt's TPE, which NNI's users know: a density of the good trials over one of the rest, each dimension alone.

A dimension inside a branch is modelled from the trials that took the branch. hyperopt counts `gamma` times the
square root of the number of trials as good, 25 at most. It is shown the best of the older trials and the newest, 400
in all, so that an ask takes as long after 10,000 trials as after 400: the good ones are the same as if it saw all, the
rest is represented by those shown. Trials still running are among the rest.
"""

from __future__ import annotations

import math
from heapq import nsmallest
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.search_space import Space
from autoprune.tuners._hyperopt import Document, HyperoptTuner, loss_of
from autoprune.tuners.base import NestedArgs, TunerArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hyperopt.base import Domain

BEST = 100
NEWEST = 300


class HyperoptTPEArgs(NestedArgs):
    gamma: float = Field(
        0.25, gt=0, allow_inf_nan=False, description="gamma * sqrt(trials) of the trials, at most 25, count as good"
    )
    prior_weight: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="weight of the space's own distribution beside one trial's"
    )
    n_startup_jobs: int = Field(20, ge=1, description="trials before the search leaves random sampling")
    n_ei_candidates: int = Field(24, ge=1, description="candidates of which the most promising is taken")


class HyperoptTPE(HyperoptTuner):
    name = "HyperoptTPE"
    Args: ClassVar[type[TunerArgs]] = HyperoptTPEArgs

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._documents: list[Document] = []

    def learn(self, document: Document) -> None:
        self._documents.append(document)

    def propose(self, number: int, domain: Domain, running: Sequence[Document]) -> Document:
        from hyperopt import rand, tpe
        from hyperopt.base import trials_from_docs

        args = self.args
        assert isinstance(args, HyperoptTPEArgs)
        seed, count = self.seed_for(number), len(self._documents) + len(running)
        documents = [*chosen(self._documents), *running]
        trials = trials_from_docs(documents, validate=False)
        if count < args.n_startup_jobs:
            (asked,) = rand.suggest([number], domain, trials, seed)
            return dict(asked)
        good = math.ceil(args.gamma * math.sqrt(count))
        (asked,) = tpe.suggest(
            [number],
            domain,
            trials,
            seed,
            prior_weight=args.prior_weight,
            n_startup_jobs=0,
            n_EI_candidates=args.n_ei_candidates,
            gamma=(good - 0.5) / math.sqrt(len(documents)),
            verbose=False,
        )
        return dict(asked)


def chosen(documents: Sequence[Document]) -> list[Document]:
    """The newest trials and the best of the others."""
    return [*nsmallest(BEST, documents[:-NEWEST], key=loss_of), *documents[-NEWEST:]]
