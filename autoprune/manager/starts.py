"""The starting points of an experiment: those of its study, then those of its configuration."""

from __future__ import annotations

from collections.abc import Sequence

from autoprune.config import ExperimentConfig
from autoprune.config.starting import misfits
from autoprune.errors import ConfigError, Problem
from autoprune.records import StartingPoint


def all_starts(config: ExperimentConfig, studied: Sequence[StartingPoint]) -> list[StartingPoint]:
    """In the order in which they run. Raises ConfigError where some are not of the space, which for a task is known
    only now."""
    problems: list[Problem] = []
    for place, parameters in enumerate(config.starting_points):
        problems += misfits(config.space, parameters, place)
    if problems:
        raise ConfigError(problems)
    given = (StartingPoint(f"start {place}", parameters) for place, parameters in enumerate(config.starting_points))
    return [*studied, *given]
