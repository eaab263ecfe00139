"""What the pruners that rank channels by their activation share.

The activation of a layer is its output after an activation function. Where the very tensor that it returns goes into
a BatchNorm, it is the BatchNorm's output after that function, since that is what the next layer sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from autoprune.compression.core.config_list import Key
from autoprune.compression.torch.layers import BATCH_NORMS, LayerInfo
from autoprune.compression.torch.pruners._data_driven import (
    CONVOLUTIONS,
    DataDrivenPruner,
    LayerKey,
    channel_axis,
    first_input,
    key_of,
    sum_by_channel,
    total,
)
from autoprune.compression.torch.pruners.base import Pruner
from autoprune.errors import Problem

_FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
}


class ActivationPruner(DataDrivenPruner):
    """Scores a channel by the average of `measure` over the values of its activation."""

    keys = (
        *Pruner.keys,
        Key("activation", f"one of {', '.join(_FUNCTIONS)}", lambda value: value in (*_FUNCTIONS,), "relu"),
    )
    granularity = "filter"
    supported = (*CONVOLUTIONS, nn.Linear, *BATCH_NORMS)

    _averages: Mapping[LayerKey, Tensor] = {}

    def measure(self, activation: Tensor) -> Tensor:
        """What is averaged over examples and positions."""
        raise NotImplementedError(f"{self._called} must override measure")

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        calls: dict[LayerKey, list[_Call]] = {}
        by_output: Any = WeakTensorKeyDictionary()

        def look(info: LayerInfo, module: nn.Module, _: Tensor, output: Tensor) -> None:
            by_output[output] = call = _Call(_FUNCTIONS[info.settings["activation"]], self.measure)
            call.see(module, output)
            calls.setdefault(key_of(info), []).append(call)

        def follow(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
            if (call := by_output.get(first_input(args, kwargs))) is not None:
                call.see(module, output)

        with ExitStack() as hooks:
            for module in self.model.modules():
                if isinstance(module, BATCH_NORMS):
                    hooks.callback(module.register_forward_hook(follow, with_kwargs=True).remove)
            self.watch(layers, look)
        self._averages = {
            key: total(call.sums for call in own) / sum(call.count for call in own) for key, own in calls.items()
        }

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return self._averages[key_of(layer)]

    @classmethod
    def check(cls, where: str, settings: Mapping[str, Any]) -> list[Problem]:
        given = settings.get("granularity", cls.granularity)
        if given in ("filter", "row"):
            return []
        return [Problem(f"{where}.granularity", repr(given), "filter: an activation belongs to a whole channel")]


class _Call:
    """One call of a layer: the sum of a measure for each channel, and over how many values of it."""

    sums: Tensor
    count: int

    def __init__(self, activate: Callable[[Tensor], Tensor], measure: Callable[[Tensor], Tensor]) -> None:
        self._activate = activate
        self._measure = measure

    @torch.no_grad()
    def see(self, module: nn.Module, output: Tensor) -> None:
        self.sums = sum_by_channel(self._measure(self._activate(output)), channel_axis(module))
        self.count = output.numel() // self.sums.numel()
