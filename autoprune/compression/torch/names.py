"""Pruners and quantizers by name: a module of their packages is an algorithm's home, and nothing else lists it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.compression.torch.quantizers.base import Quantizer
from autoprune.errors import nearest
from autoprune.registry import fold

_PACKAGE = __name__.rpartition(".")[0]
_ROOMS: dict[str, type] = {f"{_PACKAGE}.pruners": Pruner, f"{_PACKAGE}.quantizers": Quantizer}


@cache
def algorithms() -> dict[str, type[Any]]:
    """Every pruner and quantizer of the package under its name and its aliases."""
    found: dict[str, type[Any]] = {}
    for room, base in _ROOMS.items():
        for info in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}."):
            if (name := info.name.removeprefix(f"{room}.")) == "base" or name.startswith("_"):
                continue
            module = importlib.import_module(info.name)
            for value in vars(module).values():
                if inspect.isclass(value) and issubclass(value, base) and value.__module__ == info.name:
                    found |= dict.fromkeys((value.__name__, *value.__dict__.get("aliases", ())), value)
    return dict(sorted(found.items()))


@cache
def outside() -> dict[str, tuple[EntryPoint, type]]:
    """What other distributions bring, by name, and what it must be; loaded when it is asked for."""
    groups = {base: entry_points(group=room.replace(".torch", "")) for room, base in _ROOMS.items()}
    return {entry.name: (entry, base) for base, entries in groups.items() for entry in entries}


def pruner(name: str) -> type[Pruner]:
    """A pruner by its name, an alias or the beginning of one, in any case: `l1` and `L1NormPruner` are the same."""
    known = {_fold(each): value for each, value in algorithms().items() if issubclass(value, Pruner)}
    begun = {value for each, value in known.items() if name and each.startswith(_fold(name))}
    found = known.get(_fold(name)) or (next(iter(begun)) if len(begun) == 1 else None)
    if found is None:
        close = known.get(nearest(_fold(name), list(known)) or "")
        every = ", ".join(sorted({value.__name__ for value in known.values()}))
        hint = f"did you mean {close.__name__}?" if close else every
        raise CompressionError(f"given {name!r}; expected a pruner's name ({hint})")
    return found


def _fold(name: str) -> str:
    return fold(name).removesuffix("pruner")


_ELSEWHERE = {
    "LinearPruner": "ScheduledPruner(pruner, 'linear') is what it does",
    "SimulatedAnnealingPruner": "ScheduledPruner(pruner, 'simulated_annealing') is what it does",
    "apply_compression_results": "load_masks is what it does",
    "ModelSpeedup": "speedup(model, masks, example_input) is what it does",
    "AutoCompressPruner": "there is none here: ADMMPruner and ScheduledPruner are its parts",
    "AMCPruner": "there is none here: a task and `autoprune run` search sparsities",
    "NetAdaptPruner": "a task with the tuner NetAdapt is what it does",
}
"""Names of other libraries, and what there is for them."""


def find(name: str) -> type[Any]:
    """The algorithm of this name; AttributeError, as a module's lookup must raise, names the nearest."""
    found = algorithms()
    if name in found:
        return found[name]
    if name not in outside():
        hint = _ELSEWHERE.get(name) or remedy(name, [*found, *outside()])
        raise AttributeError(f"module {_PACKAGE!r} has no {name!r} ({hint})")
    entry, base = outside()[name]
    kind = entry.load()
    if not (inspect.isclass(kind) and issubclass(kind, base)):
        raise CompressionError(f"entry point {name}: given {entry.value}; expected a subclass of {base.__name__}")
    return kind
