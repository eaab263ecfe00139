"""The trials that a search starts with: what every heuristic says, as allocations that meet the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from autoprune.compression.command.failing import said
from autoprune.records import StartingPoint
from autoprune.search.heuristics import Heuristic, Subject, heuristics, strongest_first
from autoprune.search.pruning import named
from autoprune.search.scaling import Kind
from autoprune.search.space import parameters_of

_FOR_OTHERS = "uniform"
"""The heuristic that is tried with a pruner which no other goes with."""


def starting_points(
    kinds: Mapping[str, Kind], subjects: Mapping[Kind, Subject], tell: Callable[[str], None]
) -> list[StartingPoint]:
    """The strongest first, and no allocation twice. `kinds` has what goes with each pruner, in their order."""
    found: dict[str, StartingPoint] = {}
    for heuristic, pruner in _pairs(kinds):
        subject = subjects[kinds[pruner]]
        if obstacle := heuristic.obstacle(subject):
            tell(f"starts without {heuristic.name}: {obstacle}")
            continue
        try:
            raw = heuristic.sparsities(subject)
        except Exception as error:
            tell(f"starts without {heuristic.name}, which the model does not allow: {said(error)}")
            continue
        allocation = subject.scaler.of_groups(subject.scaler.scaled(raw))
        name = heuristic.name if len(kinds) == 1 or pruner == heuristic.name else f"{heuristic.name} ({pruner})"
        start = StartingPoint(name, parameters_of(pruner, allocation))
        found.setdefault(repr(start.parameters), start)
    return list(found.values())


def _pairs(kinds: Mapping[str, Kind]) -> Iterator[tuple[Heuristic, str]]:
    """Each heuristic with one pruner of each kind, and the other pruners with one heuristic."""
    others = dict.fromkeys(kinds)
    first = {kind: next(pruner for pruner in kinds if kinds[pruner] == kind) for kind in kinds.values()}
    for heuristic, kind in strongest_first(first):
        pruner = _best_with(heuristic, [each for each in kinds if kinds[each] == kind]) or first[kind]
        others.pop(pruner, None)
        yield heuristic(), pruner
    for pruner in others:
        yield heuristics.get(_FOR_OTHERS)(), pruner


def _best_with(heuristic: type[Heuristic], pruners: list[str]) -> str | None:
    """Of these pruners the one that the heuristic goes best with."""
    if heuristic.pruner is None:
        return None
    wanted = named(heuristic.pruner)
    return next((each for each in pruners if named(each) is wanted), None)
