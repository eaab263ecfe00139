"""Allocations that are known before any trial: one file each, found by name. A search tries them first."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.registry import Registry
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind

heuristics: Registry[Heuristic] = Registry("autoprune.search.heuristics", Heuristic, "heuristic")  # type: ignore[type-abstract]


def strongest_first(kinds: Iterable[Kind]) -> list[tuple[type[Heuristic], Kind]]:
    """Each for every kind that it can be used for, so that a search that is cut short has tried the best."""
    wanted = set(kinds)
    pairs = [(own, kind) for own in heuristics.all().values() for kind in own.places if kind in wanted]
    return sorted(pairs, key=lambda pair: (pair[0].places[pair[1]], pair[0].name, pair[1]))


__all__ = ["Heuristic", "Subject", "heuristics", "strongest_first"]
