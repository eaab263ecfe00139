"""Budgets of single weights: exact to one element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from autoprune.compression.core.formulas import pruned_count, sparsity_of
from autoprune.compression.core.scaling import scale_to_target
from autoprune.errors import UsageError
from autoprune.records import JSON
from autoprune.search.grouping import Granularity, weight_groups
from autoprune.search.scaling import Budget, Kind, Scaler


class WeightScaler(Scaler):
    kind: ClassVar[Kind] = "weights"

    def __init__(self, model: nn.Module, budget: Budget | None, granularity: Granularity) -> None:
        self.groups, self._sizes = weight_groups(model, granularity)
        self._total = sum(self._sizes.values())
        self._others = sum(each.numel() for each in model.parameters()) - self._total
        self._budget = budget
        self._kept = None if budget is None else self._kept_by(budget)

    def scaled(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        given = self.of_layers(sparsities)
        if self._kept is None:
            return {
                name: sparsity_of(min(pruned_count(size, given[name]), size - 1), size)
                for name, size in self._sizes.items()
            }
        return scale_to_target(given, self._sizes, sparsity_of(self._total - self._kept, self._total))

    def of_groups(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        return {
            group.name: sum(sparsities[layer] * self._sizes[layer] for layer in group.layers) / group.size
            for group in self.groups
        }

    def described(self) -> dict[str, JSON]:
        if self._budget is None or self._kept is None:
            return {}
        dense = self._total + self._rest
        return {
            "kind": self._budget.kind,
            "limit": self._kept + self._rest,
            "dense": dense,
            "least": len(self._sizes) + self._rest,
            "most": dense,
        }

    def left(self, sparsities: Mapping[str, float]) -> float | None:
        if self._budget is None:
            return None
        return self._rest + sum(size - pruned_count(size, sparsities[name]) for name, size in self._sizes.items())

    @property
    def _rest(self) -> int:
        """What a budget limits beside the weights of the searched layers."""
        return 0 if self._budget is None or self._budget.kind == "sparsity" else self._others

    def _kept_by(self, budget: Budget) -> int:
        """How many weights of the searched layers may stay."""
        if budget.kind not in ("sparsity", "parameters"):
            raise UsageError(
                f"budget.{budget.kind}: given {budget.amount} with a pruner of single weights, which leaves zeros "
                "where they were and changes no such figure; expected a budget of sparsity or parameters, or pruners "
                "of filters, such as l1"
            )
        return budget.limit(self._total + self._rest, len(self._sizes) + self._rest) - self._rest
