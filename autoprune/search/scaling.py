"""`Scaler`: from any sparsities to ones that meet the budget exactly. What a search proposes is only a proportion.

One for each kind of pruning: `weights` counts single weights, `filters` whole channels and all that goes with them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from autoprune.errors import UsageError
from autoprune.records import JSON, Group

Kind: TypeAlias = Literal["weights", "filters"]
KINDS: tuple[Kind, ...] = ("weights", "filters")

_COUNTED = {"parameters": "parameters that are not zero", "macs": "multiply-accumulates", "size": "bytes"}
_TOLERANCE = 1e-9
_SHOWN = 10**6
_WITHOUT_BUDGET = 0.5


@dataclass(frozen=True)
class Budget:
    """What every trial keeps to: `kind` as the configuration names it, and a share of the dense model or an amount."""

    kind: str
    amount: float | str

    @classmethod
    def of(cls, given: Mapping[str, JSON] | None) -> Budget | None:
        """From the configuration's table."""
        found = [(kind, amount) for kind, amount in (given or {}).items() if amount is not None]
        return cls(*found[0]) if found else None

    def limit(self, dense: int, least: int) -> int:
        """How much of a dense amount may be left, if that can be reached: a sparsity says how much has to go."""
        assert isinstance(self.amount, float)
        if self.kind == "sparsity":
            limit = dense - math.ceil(dense * self.amount - _TOLERANCE)
            highest = math.floor((1 - least / dense) * _SHOWN) / _SHOWN
            reachable = f"a sparsity up to {highest:.10g}"
        else:
            limit = math.floor(dense * self.amount + _TOLERANCE) if self.amount < 1 else int(self.amount)
            reachable = f"{least} to {dense} {_COUNTED.get(self.kind, self.kind)}"
        if not least <= limit <= dense:
            raise UsageError(f"budget.{self.kind}: given {self.amount:.10g}; expected what can be reached: {reachable}")
        return limit


class Scaler(ABC):
    """Knows the groups of a model that can be pruned in one way, and what their sparsities cost.

    Where the budget can not be met, making a scaler raises a UsageError with what can be reached.
    """

    kind: ClassVar[Kind]
    groups: Sequence[Group]

    @abstractmethod
    def scaled(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        """The sparsity of each layer, in whole weights or filters, from one for each group; without a budget, as near
        to what is given as whole ones are."""

    @abstractmethod
    def described(self) -> dict[str, JSON]:
        """The budget in numbers: its `kind`, the `limit`, and of the same `least` and `most` reachable, and `dense`."""

    @abstractmethod
    def left(self, sparsities: Mapping[str, float]) -> float | None:
        """What these sparsities of the layers leave of what the budget limits; None without a budget."""

    @property
    def layers(self) -> list[str]:
        """Those that are searched."""
        return [layer for group in self.groups for layer in group.layers]

    @property
    def even_sparsity(self) -> float:
        """The share of the weights of all groups that goes, where all are equally sparse."""
        even = self.of_groups(self.scaled({group.name: _WITHOUT_BUDGET for group in self.groups}))
        return sum(group.size * even[group.name] for group in self.groups) / sum(group.size for group in self.groups)

    def of_layers(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        """A group's sparsity for each of its layers."""
        return {layer: sparsities[group.name] for group in self.groups for layer in group.layers}

    @abstractmethod
    def of_groups(self, sparsities: Mapping[str, float]) -> dict[str, float]:
        """The sparsity of each group, from one for each layer."""
