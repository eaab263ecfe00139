"""Copies of models that are plain: without masks, and with other tensors in the place of some, so that large weights
need not be copied first."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import masking
from autoprune.compression.torch.layers import obstacle_of
from autoprune.compression.torch.nested import tensors

Model = TypeVar("Model", bound=nn.Module)


def plain_copy(model: Model, instead: Mapping[int, object]) -> Model:
    """A deep copy whose masks are gone. Tensors and modules come from `instead` where it has one for the identity of
    the old."""
    memo: dict[int, object] = {**instead, **{id(site): None for site in masking.sites(model)}}
    for name, module in model.named_modules():
        if (computed := obstacle_of(module)) and "weight" in vars(module):
            raise CompressionError(f"given a layer {name!r} {computed}; it can not be copied")
        for value in tensors(vars(module)):
            if not value.is_leaf:
                memo.setdefault(id(value), value.detach().clone())
    copied = copy.deepcopy(model, memo)
    masking.forget(copied)
    return copied
