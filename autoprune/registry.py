"""Plug-ins by name: one file in a package is one plug-in.

A registry looks in its package for the module whose name matches (`GridSearch` is `grid_search.py`), and in the
entry point group of the same name (`autoprune.tuners`) for what other distributions bring. Nothing is listed
anywhere else, so adding a plug-in is adding a file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from autoprune.errors import NotFoundError, did_you_mean

T = TypeVar("T")


def fold(name: str) -> str:
    """Names match whatever their case and underscores."""
    return name.replace("_", "").replace("-", "").casefold()


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The plug-ins of `package` that subclass `base`; `kind` is the word for one in messages."""

    package: str
    base: type[T]
    kind: str

    def names(self) -> list[str]:
        """The name of every plug-in, sorted."""
        return sorted(plugin.__dict__["name"] for plugin in self.all().values())

    def all(self) -> dict[str, type[T]]:
        """Every plug-in by its name, imported."""
        found = [self._load_module(module) for module in self._modules().values()]
        found += [self._load_entry(entry) for entry in self._entries().values()]
        return {plugin.__dict__["name"]: plugin for plugin in found}

    def get(self, name: str) -> type[T]:
        """The plug-in of this name; importing only its own module."""
        key = fold(name)
        if key in (modules := self._modules()):
            return self._load_module(modules[key])
        if key in (entries := self._entries()):
            return self._load_entry(entries[key])
        raise NotFoundError(f"no {self.kind} is called {name!r} ({did_you_mean(name, self.names())})")

    def _modules(self) -> dict[str, str]:
        package = importlib.import_module(self.package)
        names = [info.name for info in pkgutil.iter_modules(package.__path__)]
        return {fold(name): f"{self.package}.{name}" for name in names if name != "base" and name[0] != "_"}

    def _entries(self) -> dict[str, EntryPoint]:
        return {fold(entry.name): entry for entry in entry_points(group=self.package)}

    def _load_module(self, path: str) -> type[T]:
        module = importlib.import_module(path)
        plugins = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, self.base) and value.__module__ == path
        ]
        named = [plugin for plugin in plugins if "name" in plugin.__dict__]
        if len(named) != 1:
            raise NotFoundError(
                f"{path} must define exactly one subclass of {self.base.__name__} with a `name`; "
                f"it defines {len(named)}"
            )
        return named[0]

    def _load_entry(self, entry: EntryPoint) -> type[T]:
        plugin = entry.load()
        if not (inspect.isclass(plugin) and issubclass(plugin, self.base) and "name" in plugin.__dict__):
            raise NotFoundError(
                f"entry point {entry.name} of group {self.package} is {plugin!r}; "
                f"expected a subclass of {self.base.__name__} with a `name`"
            )
        return plugin
