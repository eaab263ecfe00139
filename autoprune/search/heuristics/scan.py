"""The cheapest allocation by the sensitivity scan: what each group loses alone, summed, is made as small as the budget
allows (S. Han et al., "Learning both weights and connections", 2015, measure the same curves, and read them by eye).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoprune.search.heuristics._ranking import at_budget
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.knapsack import Item, cheapest
from autoprune.search.scaling import Kind


class Scan(Heuristic):
    name = "scan"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 50, "filters": 30}
    pruner = "level"

    def obstacle(self, subject: Subject) -> str:
        return "" if subject.lost else "the sensitivity of the layers is not measured (search.scan)"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        prices = _prices(subject)
        items = {name: Item(prices[name], points) for name, points in subject.lost.items()}
        return at_budget(subject.scaler, lambda share: cheapest(items, share))


def _prices(subject: Subject) -> Mapping[str, float]:
    """What each group takes of what the budget limits, by what half of it alone would give back; else its weights."""
    scaler = subject.scaler
    nothing = {group.name: 0.0 for group in scaler.groups}
    left = {group.name: scaler.left(scaler.of_layers(nothing | {group.name: 0.5})) for group in scaler.groups}
    whole = scaler.left(scaler.of_layers(nothing))
    return {
        group.name: group.size if whole is None or own is None else whole - own
        for group, own in zip(scaler.groups, left.values(), strict=True)
    }
