"""Trials in NNI's shape, which `autoprune import` reads."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.results.models import Trial


def exported(trials: Iterable[Trial]) -> list[dict[str, JSON]]:
    """Each as `{"parameter", "value", "id"}`. `value` is what it reported: a number, or a dict with `default`."""
    return [{"parameter": trial.parameters, "value": _reported(trial), "id": trial.number} for trial in trials]


def _reported(trial: Trial) -> JSON:
    return trial.value if set(trial.metrics) <= {DEFAULT} else trial.metrics
