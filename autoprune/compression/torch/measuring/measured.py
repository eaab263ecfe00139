"""All figures of a model, as one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from autoprune.compression.core.errors import CompressionError, shown
from autoprune.compression.cost import Cost, LayerCost
from autoprune.compression.torch.measuring.counting import (
    check_initialised,
    counted,
    form,
    in_all,
    model_is_meta,
    tensors_of,
)
from autoprune.compression.torch.measuring.files import dense_bytes, sparse_bytes, stored
from autoprune.compression.torch.measuring.latency import bytes_of, latency
from autoprune.compression.torch.measuring.macs import count_macs


def measured(
    model: nn.Module,
    example_input: Any,
    batch_sizes: Sequence[int],
    warmup: int,
    repeats: int,
    *,
    timed: bool,
    with_macs: bool,
) -> Cost:
    """`autoprune.compression.cost.measure`."""
    _check(model, batch_sizes, warmup, repeats)
    valued = not model_is_meta(model)
    if timed and not valued:
        raise CompressionError(
            "measure: given a model on the meta device, which has no values to compute with; expected one on the CPU "
            "or a GPU (latency=False leaves time and memory out)"
        )
    layers = counted(model)
    macs = count_macs(model, example_input) if with_macs else None
    tensors = stored(model)
    requested, achieved = in_all(layers)
    return Cost(
        form=form(model),
        parameters=sum(each.parameters for each in layers),
        nonzeros=sum(each.nonzeros or 0 for each in layers) if valued else None,
        macs=None if macs is None else macs.total,
        dense_bytes=dense_bytes(tensors),
        sparse_bytes=sparse_bytes(tensors) if valued else None,
        weight_memory=bytes_of(tensors_of(model)) if valued else None,
        requested=requested,
        achieved=achieved,
        latency=tuple(latency(model, example_input, size, warmup, repeats) for size in batch_sizes if timed),
        layers=tuple(
            LayerCost(
                each.name,
                each.type,
                each.parameters,
                each.nonzeros,
                None if macs is None else macs.layers.get(each.name),
                each.requested,
                each.achieved,
                each.channels,
            )
            for each in layers
        ),
    )


def _check(model: object, batch_sizes: Sequence[int], warmup: int, repeats: int) -> None:
    if not isinstance(model, nn.Module):
        raise CompressionError(f"measure: given {shown(model)}; expected a model")
    check_initialised(model)
    if not isinstance(batch_sizes, Sequence) or not batch_sizes or not all(_is_whole(each, 1) for each in batch_sizes):
        raise CompressionError(f"measure.batch_sizes: given {shown(batch_sizes)}; expected whole numbers from 1")
    if not _is_whole(warmup, 0):
        raise CompressionError(f"measure.warmup: given {shown(warmup)}; expected a whole number from 0")
    if not _is_whole(repeats, 1):
        raise CompressionError(f"measure.repeats: given {shown(repeats)}; expected a whole number from 1")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
