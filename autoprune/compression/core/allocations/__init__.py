"""How the budget of an entry is divided among its layers: one file each, found by name.

Beforehand, from the shapes of the layers (`uniform`, `erk`), or by ranking the scores of all layers together
(`global`, `lamp`).
"""

from __future__ import annotations

from functools import cache

from autoprune.compression.core.allocations.base import Allocation
from autoprune.registry import Registry

_ALLOCATIONS: Registry[Allocation] = Registry(__name__, Allocation, "allocation")
_OLD_NAMES = {"normal": "uniform"}


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted([*_ALLOCATIONS.names(), *_OLD_NAMES]))


@cache
def find(name: str) -> Allocation:
    """The allocation of this name; `normal` is what NNI calls `uniform`."""
    return _ALLOCATIONS.get(_OLD_NAMES.get(name, name))()
