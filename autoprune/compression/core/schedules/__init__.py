"""Schedules: each file here is one way from dense to a target, found by its name."""

from __future__ import annotations

import inspect
from typing import Any

from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.core.schedules.base import Schedule, Stepwise, Task
from autoprune.registry import Registry, fold

schedules: Registry[Schedule] = Registry("autoprune.compression.core.schedules", Schedule, "schedule")  # type: ignore[type-abstract]

__all__ = ["Schedule", "Stepwise", "Task", "schedule", "schedules"]


def schedule(name: str, **arguments: Any) -> Schedule:
    """The schedule of this name, built with its arguments: `schedule("agp", total_iteration=5)`."""
    names = schedules.names()
    if fold(name) not in {fold(known) for known in names}:
        raise CompressionError(f"schedule: given {name!r}; expected the name of a schedule ({remedy(name, names)})")
    made = schedules.get(name)
    accepted = list(inspect.signature(made).parameters)
    for argument in arguments:
        if argument not in accepted:
            raise CompressionError(
                f"schedule {made.name}: given the argument {argument!r}; expected one of its own "
                f"({remedy(argument, accepted)})"
            )
    return made(**arguments)
