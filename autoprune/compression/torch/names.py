"""Pruners by name: a module in this package is a pruner's home, and nothing else lists it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from autoprune.compression.core.errors import remedy
from autoprune.compression.torch.pruner import Pruner

_PACKAGE = __name__.rpartition(".")[0]


@cache
def pruners() -> dict[str, type[Pruner]]:
    """Every pruner of the package under its name and its aliases."""
    found: dict[str, type[Pruner]] = {}
    for info in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__, f"{_PACKAGE}."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, Pruner) and value.__module__ == info.name:
                found |= dict.fromkeys((value.__name__, *value.__dict__.get("aliases", ())), value)
    return dict(sorted(found.items()))


def find(name: str) -> type[Pruner]:
    """The pruner of this name; AttributeError, as a module's lookup must raise, names the nearest."""
    found = pruners()
    if name not in found:
        raise AttributeError(f"module {_PACKAGE!r} has no {name!r} ({remedy(name, found)})")
    return found[name]
