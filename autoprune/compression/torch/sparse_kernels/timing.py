"""What layers really see when a model runs, and how long two ways to compute the same take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.untouched import modes_kept, random_state_kept

_WARM_UP = 3
_MILLISECONDS = 1e3


@dataclass(frozen=True)
class Seen:
    """An input of a layer, and how many inputs of its shape one run of the model brings."""

    input: Tensor
    calls: int


def inputs_seen(model: nn.Module, example_input: Any, layers: Iterable[nn.Linear]) -> dict[nn.Linear, list[Seen]]:
    """What each layer is called with in one run of the model: one input of each shape, kept as it was."""
    seen: dict[nn.Linear, dict[object, Seen]] = {layer: {} for layer in layers}

    def note(layer: nn.Linear, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given: Tensor = args[0] if args else kwargs["input"]
        kind = given.shape, given.stride(), given.dtype
        before = seen[layer].get(kind, Seen(given, 0))
        seen[layer][kind] = Seen(before.input, before.calls + 1)

    with ExitStack() as hooks:
        for layer in seen:
            hooks.callback(layer.register_forward_pre_hook(note, with_kwargs=True).remove)
        call(model, example_input)
    return {layer: list(kinds.values()) for layer, kinds in seen.items()}


def one_row(layer: nn.Linear) -> list[Seen]:
    """What stands in for inputs that nobody gave: a row of random numbers."""
    return [Seen(torch.randn(1, layer.in_features).to(layer.weight), 1)]


@contextmanager
def as_in_use(model: nn.Module) -> Iterator[None]:
    """Run it in eval mode, without gradients, and leave its modes and the random numbers as they were."""
    with random_state_kept(), modes_kept(model), torch.no_grad():
        model.eval()
        yield


def side_by_side(
    first: Callable[[], object], second: Callable[[], object], repeats: int, device: torch.device
) -> tuple[float, float]:
    """The median of each in milliseconds; they take turns, so that what else the machine does meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(_WARM_UP + repeats):
        for function, own in zip((first, second), times, strict=True):
            taken = _milliseconds(function, device)
            if turn >= _WARM_UP:
                own.append(taken)
    return median(times[0]), median(times[1])


def _milliseconds(function: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    function()
    _wait(device)
    return (time.perf_counter() - start) * _MILLISECONDS


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
