"""Records of the store as the models that people and programs see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from autoprune import records
from autoprune.results.models import Attempt, Report, Trial
from autoprune.store import Attempt as StoredAttempt
from autoprune.store.trials import Outline

_OUTLINED = tuple(field.name for field in fields(Outline) if field.name in Trial.model_fields)


def trial_model(trial: records.Trial) -> Trial:
    return Trial(**common(trial))


def outline_model(trial: Outline, metrics: Mapping[str, records.JSON]) -> Trial:
    """A trial of which only this is known."""
    known = {name: getattr(trial, name) for name in _OUTLINED}
    return Trial.model_construct(**known, parameters={}, metrics=dict(metrics), message="")


def common(trial: records.Trial) -> dict[str, records.JSON]:
    """What every model of a trial says."""
    return {name: getattr(trial, name) for name in Trial.model_fields}


def attempt_model(attempt: StoredAttempt) -> Attempt:
    return Attempt(**{name: getattr(attempt, name) for name in Attempt.model_fields})


def report_model(metric: records.Metric) -> Report:
    return Report(**{field.name: getattr(metric, field.name) for field in fields(metric)})


def came_from(trial: records.Trial | Trial) -> str:
    """Where a trial comes from, in words; empty where the tuner proposed it."""
    return trial.origin if trial.repeat_of is None else f"repeat of {trial.repeat_of}"
