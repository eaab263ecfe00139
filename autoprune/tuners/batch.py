"""Batch: the trials that the search space lists, each once, in their order.

As NNI has it: the space is one choice whose options are whole sets of parameters, and a trial gets such a set as it
stands, not under the choice's name. It is a grid of one dimension, so a place in it is the grid's.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.records import History, Proposal
from autoprune.search_space import Choice, Constant, Dimension, Space
from autoprune.tuners.base import Tuner, TunerArgs
from autoprune.tuners.grid_search import GridSearch, GridSearchArgs

_EXPECTED = (
    "Batch needs one choice whose options are tables of parameters, such as "
    '{"combine_params": {"_type": "choice", "_value": [{"lr": 0.1}, {"lr": 0.2}]}}'
)


class Batch(Tuner):
    name = "Batch"
    seeded = False
    learns = False

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._grid = GridSearch(space, GridSearchArgs.model_validate({}), seed)

    @classmethod
    def check(cls, space: Space, args: TunerArgs) -> str | None:
        if len(space.members) > 1:
            return f"{_EXPECTED}; this space has {len(space.members)} parameters"
        return next((_complaint(name, dimension) for name, dimension in space.members.items()), None)

    def ask(self, number: int, history: History) -> Proposal | None:
        proposal = self._grid.ask(number, history)
        if proposal is None:
            return None
        (parameters,) = proposal.parameters.values()
        return Proposal(parameters, proposal.state)


def _complaint(name: str, dimension: Dimension) -> str | None:
    """Why the one parameter of a space is no batch; None when it is."""
    if not isinstance(dimension, Choice):
        return f"{_EXPECTED}; {name} is a {dimension.kind}"
    for index, option in enumerate(dimension.options):
        if not isinstance(option, Constant) or not isinstance(option.value, Mapping):
            return f"{_EXPECTED}; {name} has the option {dimension.label(index)}"
    return None
