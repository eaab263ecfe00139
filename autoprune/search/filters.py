"""Budgets of filters: whole channels, counted exactly, never above the budget, and so that nothing more would fit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from autoprune.records import JSON
from autoprune.search.channels import Removable
from autoprune.search.counts import Figure, Steps, figure_of
from autoprune.search.grouping import Granularity, filter_groups
from autoprune.search.scaling import Budget, Kind, Scaler

_LEAST_DENSITY = 1e-9


class FilterScaler(Scaler):
    """A plan says how many steps of each of the channels go, and a figure what is left of the model then."""

    kind: ClassVar[Kind] = "filters"

    def __init__(
        self,
        model: nn.Module,
        example: Any,
        budget: Budget | None,
        granularity: Granularity,
        found: Removable | None = None,
    ) -> None:
        self.groups, self._found = filter_groups(model, example, granularity, found)
        self._channels = self._found.channels
        searched = {layer for each in self._channels for layer in each.layers}
        self._layers = [name for name, _ in model.named_modules() if name in searched]
        self._budget = budget
        if budget is not None:
            figure = figure_of(budget.kind, model, example, self._found)
            dense, least = figure([0] * len(self._channels)), figure(self._all_gone)
            self._dense: float = dense
            self._least: float = least
            self._limit: float = budget.limit(dense, least)
            self._figure: Figure = figure

    def scaled(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        given = self._given(sparsities)
        if self._budget is None:
            return self._planned([each.nearest(sparsity) for each, sparsity in zip(self._channels, given, strict=True)])
        return self._planned(self._plan(given))

    def of_groups(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        sizes = {layer: size for each in self._channels for layer, size in each.weights.items()}
        return {
            group.name: sum(sparsities[layer] * sizes[layer] for layer in group.layers) / group.size
            for group in self.groups
        }

    def described(self) -> dict[str, JSON]:
        if self._budget is None:
            return {}
        return {
            "kind": self._budget.kind,
            "limit": self._limit,
            "dense": self._dense,
            "least": self._least,
            "most": self._dense,
        }

    def left(self, sparsities: Mapping[str, float]) -> float | None:
        if self._budget is None:
            return None
        return self._figure([each.nearest(sparsities[each.layers[0]]) for each in self._channels])

    def _plan(self, given: Sequence[float]) -> list[int]:
        """The plan that meets the budget."""
        return self._fitting(given, self._limit)

    def _given(self, sparsities: Mapping[str, float]) -> list[float]:
        """The sparsity of each of the channels, from one for each group."""
        by_layer = self.of_layers(sparsities)
        return [by_layer[each.layers[0]] for each in self._channels]

    def _planned(self, plan: Steps) -> dict[str, float]:
        """The sparsity of each layer by a plan."""
        planned = {
            layer: each.sparsities[step]
            for each, step in zip(self._channels, plan, strict=True)
            for layer in each.layers
        }
        return {layer: planned[layer] for layer in self._layers}

    def _fitting(self, given: Sequence[float], limit: float) -> list[int]:
        """The plan in which all densities are those given times one factor, as great as the limit of the figure allows.

        Steps are taken back in the order in which a rising factor asks for them: as many as fit one after another, and
        of the others each that still does. One that does not fit will not later, and those beyond it do not either.
        """
        order = self._taken_back(given)
        fit = bisect_right(range(1, len(order) + 1), limit, key=lambda first: self._figure(self._but(order[:first])))
        plan = self._but(order[:fit])
        full: set[int] = set()
        for at in order[fit:]:
            if at in full:
                continue
            plan[at] -= 1
            if self._figure(plan) > limit:
                plan[at] += 1
                full.add(at)
        return plan

    def _taken_back(self, given: Sequence[float]) -> list[int]:
        """Whose step comes back next, from none left to all."""
        asked = []
        for at, (channels, sparsity) in enumerate(zip(self._channels, given, strict=True)):
            density = max(1 - sparsity, _LEAST_DENSITY)
            asked += [((1 - left) / density, at) for left in channels.sparsities[:-1]]
        return [at for _, at in sorted(asked)]

    def _but(self, taken_back: Sequence[int]) -> list[int]:
        """All steps gone but these."""
        plan = self._all_gone
        for at in taken_back:
            plan[at] -= 1
        return plan

    @property
    def _all_gone(self) -> list[int]:
        return [each.steps for each in self._channels]
