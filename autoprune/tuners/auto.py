"""auto: a trust region around the best, or TPE where branches have little in common; the tuner of tasks.

**Where sparsities are scaled to a budget**, and wherever all branches have the same parameters or there are none, a
trust region on the flattened space. It begins at the best of the starting points, or else with `STARTUP` trials drawn
from the space. Only results of trials that ran to their end count, and those of the same parameters are averaged. A
copy of an earlier result, since parameters came to the same, teaches nothing. The region needs no other method for many
parameters or trials, since its model only has to be right near the best.

**Where branches have parameters of their own**, TPE on the nested space, which knows what belongs to a branch.

No parameters are proposed twice: a space whose combinations were all tried is exhausted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from autoprune.records import History, Parameters, Proposal, TrialState
from autoprune.search_space import Leaf, Space, Uniform, sample, unflatten
from autoprune.standings import SAME_AS
from autoprune.tuners._flat import FlatView
from autoprune.tuners.base import Tuner, TunerArgs
from autoprune.tuners.grid_search import Grid
from autoprune.tuners.tpe import TPE

if TYPE_CHECKING:
    from autoprune.tuners._trust_region import TrustRegion

STARTUP = 10
DRAWS = 100
"""So often is a proposal drawn for one that was not tried yet, before all combinations are gone through."""
SPARSITY = "_sparsity"


class AutoArgs(TunerArgs):
    scaled: bool = Field(
        False,
        description="parameters called ..._sparsity are scaled to a total before they are used: only proportions count",
    )


class Auto(Tuner):
    name = "auto"
    Args: ClassVar[type[TunerArgs]] = AutoArgs

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        assert isinstance(args, AutoArgs)
        self._view = FlatView(space)
        flat = args.scaled or self._view.unconditional
        self._tpe = None if flat else TPE(space, TPE.Args(optimize_mode=args.optimize_mode, seed=args.seed), seed)
        self._region: TrustRegion | None = None
        self._started = False
        self._tried: set[str] = set()
        self._seen = 0

    def ask(self, number: int, history: History) -> Proposal | None:
        self._learn(history)
        running = {_key(trial.parameters) for trial in history.running}
        for proposal in self._proposals(number, history):
            key = _key(proposal.parameters)
            if key not in self._tried and key not in running:
                return proposal
        return None

    def _proposals(self, number: int, history: History) -> Iterator[Proposal]:
        """What to try, in this order, until something is new."""
        if self._tpe:
            yield self._tpe.ask(number, history)
        elif self._region and len(self._region) >= (1 if self._started else STARTUP):
            running = [self._view.trial(trial).parameters for trial in history.running]
            state = {"radius": self._region.radius}
            for point in self._region.proposals([point for point in running if point], self.seed_for(number)):
                yield Proposal(self._view.nested(point), state)
        random = Random(self.seed_for(number))
        for _ in range(DRAWS):
            yield Proposal(sample(self.space, random))
        yield from map(Proposal, _combinations(self.space))

    def _learn(self, history: History) -> None:
        from autoprune.tuners._trust_region import TrustRegion

        self._region = self._region or TrustRegion(self._view.space, self._densities())
        for trial in history.finished[self._seen :]:
            self._tried.add(_key(trial.parameters))
            if SAME_AS in trial.metrics:
                continue
            loss, point = self.loss(trial), self._view.trial(trial).parameters
            if loss is not None and point and trial.state is TrialState.SUCCEEDED and not self._tpe:
                own = trial.tuner_state is not None and trial.repeat_of is None
                self._region.learn(point, loss, own)
                self._started |= bool(trial.origin)
        self._seen = len(history.finished)

    def _densities(self) -> Mapping[str, Leaf]:
        """The slots of which only proportions count, each with a parameter that has it."""
        assert isinstance(self.args, AutoArgs)
        slots = self._view.space.members.items() if self.args.scaled else ()
        leaves = {slot: self._view.first[slot] for slot, dimension in slots if isinstance(dimension, Uniform)}
        return {slot: leaf for slot, leaf in leaves.items() if isinstance(leaf, Uniform) and _is_sparsity(slot, leaf)}


def _is_sparsity(slot: str, leaf: Uniform) -> bool:
    return slot.partition("#")[0].endswith(SPARSITY) and leaf.low >= 0 and leaf.high <= 1


def _combinations(space: Space) -> Iterator[Parameters]:
    """All there are, where their number is finite."""
    grid = Grid(points=2)
    for index in range(grid.members(space.members)):
        flat: dict[str, float] = {}
        grid.read_members(space.members, "", index, flat)
        yield unflatten(space, flat)


def _key(parameters: Parameters) -> str:
    return json.dumps(parameters, sort_keys=True)
