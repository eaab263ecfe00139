"""How long models take: in turn, so that times are of the same minute, and layer by layer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Self, TypeVar

import torch
from torch import nn

from autoprune.compression.command.subject import tell
from autoprune.compression.torch.copying import plain_copy
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.measuring.calm import calmest
from autoprune.compression.torch.measuring.counting import owner, tensors_of
from autoprune.compression.torch.measuring.latency import in_turn, inputs_for
from autoprune.compression.torch.untouched import random_state_kept
from autoprune.latency import REPORTED, REPORTED_SHARE
from autoprune.search.preparing import alone, writing
from autoprune.search.settings import Settings

_FILE = "latency.json"
_BATCH = 1
_WARMUP = 5
_FEWEST, _MOST = 30, 3000
_SECONDS = 1.0

Value = TypeVar("Value")


def times(models: Sequence[nn.Module], example: Any) -> list[list[float]]:
    """Milliseconds of forwards of one example by each of the models, about a second of them, in turn; of a busy machine
    its calmest second of a few."""
    warm = in_turn(models, example, _BATCH, _WARMUP)
    a_round = sum(map(median, warm)) / 1000
    rounds = min(max(ceil(_SECONDS / a_round), _FEWEST), _MOST)
    return calmest(lambda: in_turn(models, example, _BATCH, rounds))[0]


def times_by_layer(model: nn.Module, example: Any) -> dict[str, float]:
    """Milliseconds that each layer takes of one example, without the layers in it."""
    watched = plain_copy(model, {}).eval()
    inputs = inputs_for(watched, example, _BATCH)
    ledger = _Ledger(watched)
    rounds: list[Mapping[str, float]] = []
    with random_state_kept(), torch.inference_mode():
        for _ in range(_WARMUP + _FEWEST):
            ledger.spent.clear()
            call(watched, inputs)
            rounds.append(dict(ledger.spent))
    names = dict.fromkeys(name for each in rounds for name in each)
    return {name: median(each.get(name, 0.0) for each in rounds[_WARMUP:]) for name in names}


class _Ledger:
    """Books the time that passes on the innermost layer that is being called."""

    def __init__(self, model: nn.Module) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._cuda = any(tensor.is_cuda for tensor in tensors_of(model))
        self._booked = 0.0
        for name, module in model.named_modules():
            self._watch(owner(name), module)

    def _watch(self, name: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: self._enter(name))
        module.register_forward_hook(lambda *_: self._leave())

    def _enter(self, name: str) -> None:
        self._book()
        self._open.append(name)

    def _leave(self) -> None:
        self._book()
        self._open.pop()

    def _book(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        now = perf_counter()
        if self._open:
            self.spent[self._open[-1]] += (now - self._booked) * 1000
        self._booked = now


class Notes:
    """What has been measured, in a file of the experiment: the first measurement stands, so that whoever asks again
    hears the same, also after the experiment was interrupted."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Any] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of an experiment; without one they are kept in memory."""
        return cls(None if settings.folder is None else settings.folder / _FILE)

    def find(self, name: str) -> Any | None:
        if name not in self._known and self._file is not None and self._file.exists():
            self._known = json.loads(self._file.read_text(encoding="utf-8"))
        return self._known.get(name)

    def known(self, name: str, find: Callable[[], Value]) -> Value:
        """What is noted under this name, or is found now; of several processes one looks, and the others wait. What
        finds it does not ask these notes."""
        if self.find(name) is None:
            if self._file is None:
                self._known[name] = find()
            else:
                with alone(self._file.with_suffix(".lock"), lambda: tell("waits for another process that measures")):
                    if self.find(name) is None:
                        self._known[name] = find()
                        with writing(self._file) as partial:
                            partial.write_text(json.dumps(self._known), encoding="utf-8")
        value: Value = self._known[name]
        return value


@dataclass(frozen=True)
class Stopwatch:
    """Times models beside the dense one: on a machine that does other things, too, their ratio varies least."""

    dense: nn.Module
    example: Any
    notes: Notes
    times: Callable[[Sequence[nn.Module], Any], Sequence[Sequence[float]]] = times
    times_by_layer: Callable[[nn.Module, Any], Mapping[str, float]] = times_by_layer

    @property
    def dense_ms(self) -> float:
        """Milliseconds that the dense model takes, as first measured: what all ratios are told by."""
        return self.notes.known("dense", lambda: median(self.times([self.dense], self.example)[0]))

    @property
    def by_layer(self) -> Mapping[str, float]:
        """Milliseconds of each layer of the dense model."""
        return self.notes.known("layers", lambda: dict(self.times_by_layer(self.dense, self.example)))

    def share(self, model: nn.Module) -> float:
        """The time of a model, as a share of what the dense one takes."""
        small, dense = self.times([model, self.dense], self.example)
        return median(one / other for one, other in zip(small, dense, strict=True))

    def report(self, model: nn.Module) -> dict[str, float]:
        """What a trial says of the time of its model, measured now, where the dense model is."""
        device = next(iter(tensors_of(self.dense))).device
        share = self.share(plain_copy(model, {}).to(device))
        return {REPORTED: share * self.dense_ms, REPORTED_SHARE: share}
