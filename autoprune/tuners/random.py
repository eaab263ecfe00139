"""Random search: every trial drawn from the space's own distributions, whatever is known."""

from __future__ import annotations

from random import Random as Generator
from typing import ClassVar

from autoprune.records import History, Proposal
from autoprune.search_space import sample
from autoprune.tuners.base import NestedArgs, Tuner, TunerArgs


class Random(Tuner):
    name = "Random"
    Args: ClassVar[type[TunerArgs]] = NestedArgs
    learns = False

    def ask(self, number: int, history: History) -> Proposal:
        return Proposal(sample(self.space, Generator(self.seed_for(number))))
