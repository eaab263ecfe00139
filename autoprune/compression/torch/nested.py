"""Tensors in what models take and return: alone, or in tuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor of them, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def each_tensor(value: Any, change: Callable[[Tensor], Any], other: Callable[[Any], Any] = lambda value: value) -> Any:
    """The same with every tensor changed, and all else as `other` makes it."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: each_tensor(item, change, other) for name, item in value.items()}
    if isinstance(value, tuple | list):
        items = [each_tensor(item, change, other) for item in value]
        named = isinstance(value, tuple) and hasattr(value, "_fields")
        return type(value)(*items) if named else items if isinstance(value, list) else tuple(items)
    return other(value)


def batch_size(value: Any) -> int:
    """The first dimension of the first tensor that has one; 0 without any."""
    return next((tensor.shape[0] for tensor in tensors(value) if tensor.dim()), 0)


def in_parts(batch: Any, rows: int | None) -> Iterator[Any]:
    """A pair (inputs, target) in parts of so many rows; whole for None, or where the two have no rows in common.

    Rows are the first dimension of the target; tensors of another length are in every part.
    """
    inputs, target = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (None, None)
    count = batch_size(target)
    if rows is None or count == 0 or not any(tensor.shape[:1] == (count,) for tensor in tensors(inputs)):
        yield batch
        return
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        yield each_tensor((inputs, target), partial(_cut, count, part))


def _cut(count: int, part: slice, tensor: Tensor) -> Tensor:
    return tensor[part] if tensor.shape[:1] == (count,) else tensor


def resized(value: Any, batch: int, size: int) -> Any:
    """With a batch of another size: the same rows over again, or the first of them, where there are rows of a batch."""
    if batch == size:
        return value

    def change(tensor: Tensor) -> Tensor:
        if tensor.shape[:1] != (batch,):
            return tensor
        return torch.cat([tensor] * -(-size // batch))[:size].clone()

    return each_tensor(value, change)
