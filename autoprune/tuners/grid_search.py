"""Grid search: every combination once, where a branch's dimensions count only inside that branch.

All options of a choice, all whole numbers of a randint, all steps of quniform and qloguniform, and `numeric_points`
values of what has no steps: bounds included, or for the normal types the middles of equally likely parts. The last
dimension changes fastest. A position in the grid is turned into its parameters by division alone, so nothing is
remembered but the position, which travels with the proposal.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from pydantic import Field

from autoprune.records import History, Proposal
from autoprune.search_space import Branch, Choice, Constant, Dimension, Leaf, Normal, Option, Space, unflatten
from autoprune.search_space.space import branch_prefix, member_path, option_path
from autoprune.tuners._sequence import Sequence, state
from autoprune.tuners.base import Tuner, TunerArgs


class GridSearchArgs(TunerArgs):
    numeric_points: int = Field(5, ge=2, description="values tried of a parameter that has no steps of its own")


class GridSearch(Tuner):
    name = "GridSearch"
    Args: ClassVar[type[TunerArgs]] = GridSearchArgs
    seeded = False
    learns = False

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        assert isinstance(args, GridSearchArgs)
        self._grid = Grid(args.numeric_points)
        self._size = self._grid.members(space.members)
        self._sequence = Sequence()

    def ask(self, number: int, history: History) -> Proposal | None:
        position = self._sequence.next(history)
        if position >= self._size:
            return None
        flat: dict[str, float] = {}
        self._grid.read_members(self.space.members, "", position, flat)
        return Proposal(unflatten(self.space, flat), state(position))


@dataclass(frozen=True)
class Grid:
    """How many combinations there are, and what each is, where `points` values are tried of what has no steps."""

    points: int

    def members(self, members: Mapping[str, Dimension]) -> int:
        return math.prod(self.size(dimension) for dimension in members.values())

    def size(self, option: Option) -> int:
        match option:
            case Constant():
                return 1
            case Branch():
                return self.members(option.members)
            case Choice():
                return sum(self.size(inner) for inner in option.options)
        return option.count or len(self.values(option))

    def values(self, leaf: Leaf) -> list[float]:
        """What is tried of a leaf without steps, ascending."""
        if isinstance(leaf, Normal):
            units = [(i + 0.5) / self.points for i in range(self.points)]
        else:
            units = [i / (self.points - 1) for i in range(self.points)]
        return sorted({leaf.from_unit(unit) for unit in units})

    def read_members(self, members: Mapping[str, Dimension], prefix: str, index: int, flat: dict[str, float]) -> None:
        """Notes in `flat` the combination of a group at an index."""
        for key in reversed(list(members)):
            index, own = divmod(index, self.size(members[key]))
            self.read(members[key], member_path(prefix, key), own, flat)

    def read(self, dimension: Dimension, path: str, index: int, flat: dict[str, float]) -> None:
        """Notes in `flat` the value of a dimension at an index, with all that it opens."""
        if not isinstance(dimension, Choice):
            flat[path] = dimension.at(index) if dimension.count else self.values(dimension)[index]
            return
        ends = list(accumulate(self.size(option) for option in dimension.options))
        number = bisect_right(ends, index)
        index -= ends[number - 1] if number else 0
        flat[path] = number
        match dimension.options[number]:
            case Branch() as branch:
                self.read_members(branch.members, branch_prefix(path, branch), index, flat)
            case Constant():
                pass
            case opened:
                self.read(opened, option_path(path, number), index, flat)
