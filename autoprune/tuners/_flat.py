"""Flattening: a nested space searched as a plain list of dimensions, around any tuner.

Parameters of one name and one type under different branches of a choice are never active together, and mostly mean
the same thing: a layer has a sparsity whatever the method. They become one slot, so that what is learnt of it under
one branch serves under the others. They share it through the unit interval, or by index where all of them have the
same few steps. What a choice offers without a name (a bare number or choice) shares nothing.

The tuner inside sees a space without conditions and trials of that space. A proposal carries the whole point, so the
coordinates that are not active in its parameters survive; a trial without one, which came from elsewhere, lies in
the middle where nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from autoprune.errors import ConfigError
from autoprune.records import JSON, History, Parameters, Proposal, Trial
from autoprune.search_space import (
    Branch,
    Choice,
    Constant,
    Dimension,
    Leaf,
    Normal,
    Option,
    RandInt,
    Space,
    Uniform,
    defaults,
    flatten,
    suggest,
)
from autoprune.search_space.space import branch_prefix, member_path, option_path
from autoprune.tuners.base import NestedArgs, Tuner, TunerArgs

FINEST = 1000
"""Steps beyond which a slot is taken as continuous."""

Name: TypeAlias = tuple[str, str | tuple[str, ...]]
"""What sharers of a slot have in common: the path without branches, and the type (of a choice, its labels)."""

_ELSEWHERE: Parameters = {}
"""Parameters that are of no space."""


def make_tuner(plugin: type[Tuner], space: Space, args: TunerArgs, seed: int) -> Tuner:
    """The tuner, inside a `FlatTuner` where it searches flat spaces only, or is told to."""
    return FlatTuner(plugin, space, args, seed) if _is_flat(plugin, args) else plugin(space, args, seed)


def check_space(plugin: type[Tuner], space: Space, args: TunerArgs) -> str | None:
    """Why the tuner cannot search the space, as it would see it; None when it can."""
    return plugin.check(FlatView(space).space if _is_flat(plugin, args) else space, args)


def _is_flat(plugin: type[Tuner], args: TunerArgs) -> bool:
    return plugin.flattens or (isinstance(args, NestedArgs) and args.flatten)


class FlatTuner(Tuner):
    """Asks a tuner of the flat space, and gives its answers in the nested one."""

    def __init__(self, plugin: type[Tuner], space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._view = FlatView(space)
        self._finished: list[Trial] = []
        self.inner = plugin(self._view.space, args, seed)

    def ask(self, number: int, history: History) -> Proposal | None:
        self._finished += map(self._view.trial, history.finished[len(self._finished) :])
        running = [self._view.trial(trial) for trial in history.running]
        proposal = self.inner.ask(number, History(self._finished, running))
        if proposal is None:
            return None
        state = {"point": dict(proposal.parameters), "inner": proposal.state}
        return Proposal(self._view.nested(proposal.parameters), state)


class FlatView:
    """A space as slots: `space` is what they make, a point is parameters of it. `first` has a sharer of each."""

    def __init__(self, space: Space) -> None:
        self._nested = space
        self._dimensions = dict(space.dimensions())
        self._slots: dict[str, str] = {}
        sharers: dict[Name, list[Dimension]] = {}
        names: dict[Name, str] = {}
        for path, name, dimension in _group(space.members, "", ""):
            if name not in names:
                taken = sum(name[0] == other for other, _ in names)
                names[name] = f"{name[0]}#{taken + 1}" if taken else name[0]
            self._slots[path] = names[name]
            sharers.setdefault(name, []).append(dimension)
        self.space = Space({names[name]: _slot(dimensions) for name, dimensions in sharers.items()})
        self.first = {names[name]: dimensions[0] for name, dimensions in sharers.items()}
        self._middle = defaults(self.space)

    @property
    def unconditional(self) -> bool:
        """Whether every slot is active, whatever is chosen."""
        return self._always_of(self._nested.members, "") == set(self.space.members)

    def nested(self, point: Parameters) -> dict[str, JSON]:
        """The parameters at a point."""

        def pick(path: str, dimension: Dimension) -> float:
            value: float = point[self._slots[path]]
            if isinstance(dimension, Choice):
                return value
            if isinstance(dimension, Normal) or not self._counted(path):
                return dimension.from_unit(value)
            return dimension.at(int(value))

        return suggest(self._nested, pick)

    def point(self, parameters: Parameters) -> dict[str, JSON]:
        """Where parameters lie, in the middle of what they leave open; raises `ConfigError` as `flatten` does."""
        flat = flatten(self._nested, parameters)
        return self._middle | {self._slots[path]: self._value(path, value) for path, value in flat.items()}

    def trial(self, trial: Trial) -> Trial:
        """The trial as the tuner inside knows it."""
        state = trial.tuner_state
        if isinstance(state, Mapping) and "point" in state:
            return replace(trial, parameters=state["point"], tuner_state=state["inner"])
        try:
            point: Parameters = self.point(trial.parameters)
        except ConfigError:
            point = _ELSEWHERE
        return replace(trial, parameters=point, tuner_state=None)

    def _value(self, path: str, value: float) -> float:
        dimension = self._dimensions[path]
        if isinstance(dimension, Choice):
            return value
        return _index(dimension, value) if self._counted(path) else _UNIT.round(dimension.to_unit(value))

    def _counted(self, path: str) -> bool:
        return isinstance(self.space.members[self._slots[path]], RandInt)

    def _always_of(self, members: Mapping[str, Dimension], prefix: str) -> set[str]:
        """The slots that are active wherever these members are."""
        return {slot for key, member in members.items() for slot in self._always(member, member_path(prefix, key))}

    def _always(self, option: Option, path: str) -> set[str]:
        match option:
            case Constant():
                return set()
            case Branch():
                return self._always_of(option.members, branch_prefix(path, option))
            case Choice():
                inside = (self._always(inner, _inner_path(inner, path, i)) for i, inner in enumerate(option.options))
                return {self._slots[path]} | set.intersection(*inside)
        return {self._slots[path]}


def in_cube(space: Space, units: Iterable[float]) -> dict[str, JSON]:
    """The parameters of a flat space at a point of the unit cube; a choice of k is cut into k equal parts."""
    coordinates = iter(units)

    def pick(_: str, dimension: Dimension) -> float:
        unit = next(coordinates)
        if not isinstance(dimension, Choice):
            return dimension.from_unit(unit)
        return min(int(unit * len(dimension.options)), len(dimension.options) - 1)

    return suggest(space, pick)


_UNIT = Uniform(0.0, 1.0)


def _slot(sharers: list[Dimension]) -> Dimension:
    """The plain dimension for dimensions of one type."""
    first = sharers[0]
    if isinstance(first, Choice):
        return Choice(tuple(Constant(index) for index in range(len(first.options))))
    counts = {sharer.count for sharer in sharers if not isinstance(sharer, Choice) and not sharer.log}
    count = counts.pop() if len(counts) == 1 else None
    return RandInt(0, count) if count is not None and count <= FINEST else _UNIT


def _inner_path(option: Option, path: str, index: int) -> str:
    """The path of an option; a branch's members are below that of its choice."""
    return path if isinstance(option, Branch) else option_path(path, index)


def _index(leaf: Leaf, value: float) -> int:
    """The inverse of `at`."""
    if isinstance(leaf, Uniform) and leaf.q is not None and leaf.steps is not None:
        return round(value / leaf.q) - leaf.steps.start
    return int(value - leaf.low)


def _group(members: Mapping[str, Dimension], path: str, shared: str) -> Iterator[tuple[str, Name, Dimension]]:
    """Every dimension with its path and the name of its slot."""
    for key, dimension in members.items():
        yield from _dimension(dimension, member_path(path, key), member_path(shared, key))


def _dimension(dimension: Dimension, path: str, shared: str) -> Iterator[tuple[str, Name, Dimension]]:
    if not isinstance(dimension, Choice):
        yield path, (shared, dimension.kind), dimension
        return
    labels = tuple(dimension.label(index) for index in range(len(dimension.options)))
    yield path, (shared, labels), dimension
    for index, option in enumerate(dimension.options):
        if isinstance(option, Branch):
            yield from _group(option.members, branch_prefix(path, option), f"{shared}/")
        elif not isinstance(option, Constant):
            yield from _dimension(option, option_path(path, index), option_path(shared, index))
