"""The scaler of each kind of pruning."""

from __future__ import annotations

from typing import Any

from torch import nn

from autoprune.search.channels import Removable
from autoprune.search.filters import FilterScaler
from autoprune.search.latency import LatencyScaler
from autoprune.search.scaling import Kind, Scaler
from autoprune.search.settings import Settings
from autoprune.search.timing import Notes, Stopwatch
from autoprune.search.weights import WeightScaler


def scaler_of(kind: Kind, model: nn.Module, example: Any, settings: Settings, found: Removable | None = None) -> Scaler:
    """What scales sparsities of this kind to the budget. What can be removed is not looked for where it was `found`."""
    granularity, budget = settings.search["granularity"], settings.budget
    if kind == "weights":
        return WeightScaler(model, budget, granularity)
    if budget is not None and budget.kind == "latency":
        return LatencyScaler(model, example, budget, granularity, Stopwatch(model, example, Notes.of(settings)), found)
    return FilterScaler(model, example, budget, granularity, found)
