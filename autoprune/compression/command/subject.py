"""What both commands are about: a model, the inputs to run it on, and the batches that the user has of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.compression.command.failing import users_code
from autoprune.compression.command.loading import Batches, Source, build_model, called, random_inputs
from autoprune.compression.command.weights import cut_as, load_whole
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.cost import Cost, measure
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import each_tensor, tensors
from autoprune.compression.torch.untouched import modes_kept, random_state_kept


@dataclass(frozen=True)
class Subject:
    """A model that runs on its example input; `batches` where the user gives data."""

    called: str
    model: nn.Module
    example: Any
    batches: Batches | None


def load(
    model: Source,
    *,
    if_compact: str,
    weights: str | None = None,
    compact: str | None = None,
    data: Source | None = None,
    inputs: Sequence[Mapping[str, Any]] = (),
) -> Subject:
    """Build the model, find its example input, and see that it runs on it.

    `if_compact` says what to do with `weights` of a smaller model.
    """
    tell(f"builds {called(model)}")
    built = build_model(model)
    if compact is not None:
        built = cut_as(built, Path(compact), called(model))
    elif weights is not None:
        load_whole(built, Path(weights), if_compact)
    batches = None if data is None else Batches(data)
    example = on_device_of(built, random_inputs(inputs) if batches is None else batches.example())
    check_runs(called(model), built, example)
    return Subject(called(model), built, example, batches)


def check_runs(called: str, model: nn.Module, example: Any) -> None:
    """See that the model takes its example input; it is as it was."""
    with users_code(f"running {called} on {_described(example)}"), modes_kept(model), random_state_kept():
        model.eval()
        with torch.no_grad():
            call(model, example)


def tell(text: str) -> None:
    """A line of progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def on_device_of(model: nn.Module, inputs: Any) -> Any:
    """The inputs where the model is."""
    device = next((tensor.device for tensor in chain(model.parameters(), model.buffers())), None)
    return each_tensor(inputs, lambda tensor: tensor.to(device))


def _described(example: Any) -> str:
    shapes = [str(tuple(tensor.shape)) for tensor in tensors(example)]
    return f"an input of shape {' and '.join(shapes)}" if shapes else "an input without tensors"


def cost_of(model: nn.Module, example: Any, batch_sizes: Sequence[int] = (1,), *, latency: bool = True) -> Cost:
    """Measured, without MACs where they can not be counted: a forward may ask for values, and counting has none."""
    try:
        return measure(model, example, batch_sizes=batch_sizes, latency=latency)
    except CompressionError as error:
        if "macs=False" not in str(error):
            raise
        tell(f"leaves out MACs: {str(error).partition(';')[0]}")
        return measure(model, example, batch_sizes=batch_sizes, latency=latency, macs=False)
