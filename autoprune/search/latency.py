"""Budgets of time. What the layers take guides, and a measurement of the really smaller model decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from autoprune.errors import UsageError
from autoprune.latency import TOLERANCE, milliseconds
from autoprune.records import JSON
from autoprune.search.channels import Removable, cut
from autoprune.search.counts import Steps, figure_of_layers
from autoprune.search.filters import FilterScaler
from autoprune.search.grouping import Granularity
from autoprune.search.scaling import Budget
from autoprune.search.timing import Stopwatch

_ATTEMPTS = 6
_NANOSECONDS = 1e6
"""In a millisecond."""


@dataclass(frozen=True)
class _Point:
    """What the layers of a plan were allowed by the table, and what it really takes."""

    allowed: float
    measured: float

    def towards(self, other: _Point, wanted: float) -> float:
        """What to allow for what is wanted, if both are points of one power law."""
        if self.measured == other.measured:
            return self.allowed
        share = math.log(wanted / self.measured) / math.log(other.measured / self.measured)
        return self.allowed * math.pow(other.allowed / self.allowed, share)


class LatencyScaler(FilterScaler):
    """A plan is cut, whatever the weights, and timed beside the dense model. What was chosen once for a proposal is
    chosen again, and a plan that was chosen is chosen for itself."""

    def __init__(
        self,
        model: nn.Module,
        example: Any,
        budget: Budget,
        granularity: Granularity,
        watch: Stopwatch,
        found: Removable | None = None,
    ) -> None:
        super().__init__(model, example, None, granularity, found)
        self._model, self._example, self._watch = model, example, watch
        layers = {name: round(ms * _NANOSECONDS) for name, ms in watch.by_layer.items()}
        self._table = figure_of_layers(layers, model, self._found)
        self._whole = self._table([0] * len(self._channels))
        self._budget = budget
        self._figure = self._estimated
        self._dense = watch.dense_ms
        self._least = self._measured(self._all_gone)
        self._limit = self._within_reach(budget)

    def described(self) -> dict[str, JSON]:
        return {**super().described(), "tolerance": TOLERANCE}

    def _plan(self, given: Sequence[float]) -> list[int]:
        notes = self._watch.notes
        if (known := notes.find(_named("for", given))) is not None:
            return list(known)
        slowest = self._slowest(given)
        plan = notes.known(_named("for", given), lambda: slowest)
        notes.known(_named("for", self._given(self.of_groups(self._planned(plan)))), lambda: plan)
        return plan

    def _slowest(self, given: Sequence[float]) -> list[int]:
        """Of a few plans, all with densities in these proportions, the slowest that is measured within the limit.

        They differ in what the layers may take by the table. Between what turned out too slow and what did not, the
        next is where a power law through both would be right.
        """
        best, best_ms = self._all_gone, self._least
        fast = _Point(self._estimated(best), best_ms)
        slow = _Point(self._dense, self._dense)
        allowed = self._limit
        for _ in range(_ATTEMPTS):
            plan = self._fitting(given, allowed)
            tried = _Point(allowed, self._measured(plan))
            if best_ms < tried.measured <= self._limit:
                best, best_ms = plan, tried.measured
            if (1 - TOLERANCE) * self._limit <= tried.measured <= self._limit:
                break
            fast, slow = (tried, slow) if tried.measured <= self._limit else (fast, tried)
            allowed = fast.towards(slow, (1 - TOLERANCE / 2) * self._limit)
        return best

    def _measured(self, plan: Steps) -> float:
        """Milliseconds of the model without these steps, measured once in an experiment."""

        def share() -> float:
            return self._watch.share(cut(self._model, self._found, plan, self._example))

        return self._dense * self._watch.notes.known(_named("share", plan), share) if any(plan) else self._dense

    def _estimated(self, steps: Steps) -> float:
        """Milliseconds, by what the layers of the dense model take."""
        return self._dense * self._table(steps) / self._whole

    def _within_reach(self, budget: Budget) -> float:
        """The limit in milliseconds, if it can be reached."""
        if isinstance(budget.amount, str):
            limit, reachable = milliseconds(budget.amount), f"{self._least:.4g}ms to {self._dense:.4g}ms"
        else:
            limit = budget.amount * self._dense
            least = math.ceil(self._least / self._dense * 1000) / 1000
            reachable = f"{least:g} to 1 of the {self._dense:.4g} ms of the dense model"
        if not self._least <= limit <= self._dense:
            raise UsageError(
                f"budget.latency: given {budget.amount}; expected what can be reached, as measured here: {reachable}"
            )
        return limit


def _named(what: str, values: Sequence[float]) -> str:
    """The name of a note."""
    return f"{what} {' '.join(f'{value:.9g}' for value in values)}"
