"""Pruners and quantizers by name: a module of their packages is an algorithm's home, and nothing else lists it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.quantizers.base import Quantizer
from autoprune.registry import fold

_PACKAGE = __name__.rpartition(".")[0]
_ROOMS: dict[str, type] = {f"{_PACKAGE}.pruners": Pruner, f"{_PACKAGE}.quantizers": Quantizer}


@cache
def algorithms() -> dict[str, type[Any]]:
    """Every pruner and quantizer under its name and its aliases, those of other distributions too."""
    found: dict[str, type[Any]] = {}
    for room, base in _ROOMS.items():
        for info in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}."):
            if (name := info.name.removeprefix(f"{room}.")) == "base" or name.startswith("_"):
                continue
            module = importlib.import_module(info.name)
            for value in vars(module).values():
                if inspect.isclass(value) and issubclass(value, base) and value.__module__ == info.name:
                    found |= dict.fromkeys((value.__name__, *value.__dict__.get("aliases", ())), value)
        found |= {entry.name: entry.load() for entry in entry_points(group=room.replace(".torch", ""))}
    return dict(sorted(found.items()))


def pruner(name: str) -> type[Pruner]:
    """A pruner by its name or an alias, in any case and without the word Pruner: `l1_norm` is L1NormPruner."""
    known = {_fold(each): value for each, value in algorithms().items() if issubclass(value, Pruner)}
    if _fold(name) not in known:
        raise CompressionError(f"given {name!r}; expected a pruner's name ({remedy(_fold(name), known)})")
    return known[_fold(name)]


def _fold(name: str) -> str:
    return fold(name).removesuffix("pruner")


def find(name: str) -> type[Any]:
    """The algorithm of this name; AttributeError, as a module's lookup must raise, names the nearest."""
    found = algorithms()
    if name not in found:
        raise AttributeError(f"module {_PACKAGE!r} has no {name!r} ({remedy(name, found)})")
    return found[name]
