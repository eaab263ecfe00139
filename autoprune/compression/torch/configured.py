"""`Configured`: what pruners and quantizers share, a model and the entries that say what to do with its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from torch import nn
from torch.optim import Optimizer

from autoprune.compression.core import config_list as configuration
from autoprune.compression.core.config_list import Entry, Key, Target
from autoprune.compression.core.configure import FileConfigList, config_list_for, is_path
from autoprune.compression.core.errors import CompressionError, ConfigListError, remedy, shown
from autoprune.errors import Problem

ConfigList: TypeAlias = Sequence[Mapping[str, Any]] | str | Path
"""Entries, or the path of a file that has them."""


class Configured:
    """Reads a config_list, a file or keywords, and finds the layers of a model that they select.

    A subclass may skip `__init__`: its state is made when it is needed.
    """

    keys: ClassVar[tuple[Key, ...]] = ()
    aliases: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()

    _model: nn.Module | None = None
    _entries: Sequence[Entry] | None = None
    _file: FileConfigList | None = None
    _compressed: bool = False

    def __init__(
        self,
        model: nn.Module | ConfigList | None = None,
        config_list: ConfigList | None = None,
        *misplaced: Any,
        **settings: Any,
    ) -> None:
        if misplaced:
            raise CompressionError(_misplaced(self._called, misplaced))
        if model is not None and not isinstance(model, nn.Module):
            if config_list is not None:
                raise CompressionError(f"{self._called}: given {shown(model)} as the model; expected a torch.nn.Module")
            model, config_list = None, model
        self._model = model
        if model is None or config_list is not None or settings:
            self._configure(config_list, settings)

    def preprocess_model(self, model: nn.Module) -> nn.Module | None:
        """Override to change the model before it is compressed; what is returned, if anything, takes its place."""
        return None

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with the settings of an entry beyond each key's own range."""
        return []

    @property
    def model(self) -> nn.Module:
        if self._model is None:
            raise CompressionError(f"{self._called}: given no model; expected one, as argument or in a call with it")
        return self._model

    def load_configure(self, path: str | Path) -> None:
        """Take what a file says for this class, in place of what it was built with."""
        if self._compressed:
            raise CompressionError(
                f"{self._called}.load_configure: given a model that is compressed already; call unwrap() first"
            )
        self._configure(Path(path), {})

    def __repr__(self) -> str:
        if self._model is None:
            return f"<{self._called} without a model>"
        done = "compressed" if self._compressed else "not compressed"
        return f"<{self._called} of {type(self._model).__name__}, {done}>"

    @property
    def _called(self) -> str:
        return type(self).__name__

    def _take(self, model: object) -> None:
        """The model of a call, for one that was built without."""
        if not isinstance(model, nn.Module):
            raise CompressionError(f"{self._called}: given {shown(model)} as the model; expected a torch.nn.Module")
        if self._compressed and model is not self._model:
            raise CompressionError(
                f"{self._called}: given a second model; expected the one it has compressed (make another for this one)"
            )
        self._model = model

    def _matched(self) -> list[Target]:
        """The layers to compress, of the model as it is now."""
        if not self._compressed:
            replaced = self.preprocess_model(self.model)
            self._model = self.model if replaced is None else replaced
        found, problems = self._match(self.model)
        if problems:
            raise self._error(problems)
        return found

    def _configure(self, given: ConfigList | None, settings: Mapping[str, Any]) -> None:
        if is_path(given):
            given = config_list_for(given, (self._called, *type(self).__dict__.get("aliases", ())))
        self._file = given if isinstance(given, FileConfigList) else None
        entries, problems = self._read(given, settings)
        if self._model is not None:
            problems += self._match(self._model, entries, settled=not problems)[1]
        if problems:
            raise self._error(problems)
        self._entries = entries

    def _error(self, problems: Sequence[Problem]) -> ConfigListError:
        """Everything wrong at once, with the lines where a file says it."""
        return ConfigListError(problems if self._file is None else map(self._file.placed, problems))

    def _read(self, given: ConfigList | None, settings: Mapping[str, Any]) -> tuple[list[Entry], list[Problem]]:
        """The entries of a config_list, or the one that keywords make."""
        problems: list[Problem] = []
        keys = self._keys()
        if given is None:
            filled = self._filled(settings, {})
            entries = [configuration.read_entry(self._called, filled, keys, problems, selectors=False)]
        elif unknown := self._unknown(settings):
            return [], unknown
        else:
            entries, problems = configuration.read(given, keys, lambda item: self._filled(item, settings))
        if not problems:
            problems = [each for entry in entries if not entry.exclude for each in self._check(entry)]
        return entries, problems

    def _match(
        self, model: nn.Module, entries: Sequence[Entry] | None = None, *, settled: bool = True
    ) -> tuple[list[Target], list[Problem]]:
        """The layers that entries select, and what does not fit; entries with problems of their own are not settled."""
        if entries is None:
            if self._entries is None:
                self._configure(None, {})
            entries = self._entries or ()
        found, problems = configuration.targets(entries, self._layers(model))
        return found, problems or (self._unfit(model, found) if settled else [])

    def _keys(self) -> tuple[Key, ...]:
        return self.keys

    def _filled(self, item: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """An entry with the keywords that hold for all, but for those in whose place it says something."""
        said = {self._says(name) for name in item} | self._implied(item)
        return {**{name: value for name, value in settings.items() if self._says(name) not in said}, **item}

    def _says(self, name: str) -> str:
        """What a key is about: all its spellings, and those of the key it stands in for, are about one thing."""
        key = next((key for key in self._keys() if name in key.names), None)
        return name if key is None else key.instead_of or key.name

    def _implied(self, item: Mapping[str, Any]) -> set[str]:
        """What an entry says without a key for it."""
        return set()

    def _unknown(self, settings: Mapping[str, Any]) -> list[Problem]:
        """Keywords that are no keys of an entry."""
        known = [*self.options, *(name for key in self._keys() for name in key.names)]
        return [
            Problem(f"{self._called}.{name}", f"the keyword {name!r}", "one it knows", remedy=remedy(name, known))
            for name in settings
            if name not in known
        ]

    def _check(self, entry: Entry) -> list[Problem]:
        return self.check(entry.where, entry.settings)

    def _layers(self, model: nn.Module) -> list[configuration.Layer]:
        """The layers of a model as selectors see them."""
        raise NotImplementedError

    def _unfit(self, model: nn.Module, targets: Sequence[Target]) -> list[Problem]:
        """What the layers cannot do as asked."""
        return []


def _misplaced(called: str, given: Sequence[Any]) -> str:
    """What to do with a third argument, which older libraries took."""
    advice = "settings by their names"
    if isinstance(given[0], Optimizer):
        advice = "no optimizer, since what is compressed stays so under any"
    elif isinstance(given[0], str):
        advice = (
            "its name: mode, pruning_algorithm (or ScheduledPruner(pruner, schedule), which fine-tunes between steps)"
        )
    return f"{called}: given {shown(given[0])} after the config_list; expected {advice}"
