"""What a PyTorch model offers to prune: its layers as selectors see them, and their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedParameter

from autoprune.compression.core.config_list import Layer
from autoprune.compression.core.errors import CompressionError, remedy

DEFAULT_TYPES: tuple[type[nn.Module], ...] = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Bilinear,
    nn.PReLU,
    nn.Embedding,
    nn.EmbeddingBag,
)


@dataclass(frozen=True)
class LayerInfo:
    """A layer as a pruner's formula gets it: `settings` holds what config_list says of it."""

    name: str
    module: nn.Module
    parameter: str
    settings: Mapping[str, Any]


def layers_of(model: nn.Module, parameter: str) -> list[Layer]:
    """Every module by every name it has, in the order of the model."""
    found = []
    for name, module in model.named_modules(remove_duplicate=False):
        weight = own_parameter(module, parameter)
        if isinstance(weight, UninitializedParameter):
            raise CompressionError(
                f"given a model whose layer {name!r} has no weights yet; expected initialised layers "
                "(run the model once on a batch)"
            )
        if name or weight is not None:
            found.append(_layer(name, module, weight))
    return found


def own_parameter(module: nn.Module, name: str) -> nn.Parameter | None:
    """A parameter registered in this module itself; None where a parametrisation or nothing stands there."""
    return dict(module.named_parameters(recurse=False, remove_duplicate=False)).get(name)


def holders(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Who registers each parameter, by the identity of the parameter: more than one where it is shared."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            found.setdefault(id(parameter), []).append((module, name))
    return found


def layer_sizes(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, int]:
    """How many weights each layer has: of the default layers, or of those named, in that order.

    A shared weight counts once, under its first name.
    """
    layers = {layer.name: layer for layer in layers_of(model, "weight") if layer.tensor is not None}
    wanted = [name for name, layer in layers.items() if layer.default] if names is None else list(names)
    sizes: dict[str, int] = {}
    owner: dict[int | None, str] = {}
    for name in wanted:
        if name not in layers:
            raise CompressionError(
                f"layer_sizes: given {name!r}; expected the name of a layer with weights ({remedy(name, layers)})"
            )
        first = owner.setdefault(layers[name].tensor, name)
        if first == name:
            sizes[name] = layers[name].size
        elif names is not None:
            raise CompressionError(f"layer_sizes: given {first!r} and {name!r}, which share a weight; name one of them")
    return sizes


def _layer(name: str, module: nn.Module, weight: nn.Parameter | None) -> Layer:
    types = tuple(
        base.__name__ for base in type(module).__mro__ if issubclass(base, nn.Module) and base is not nn.Module
    )
    if weight is None:
        return Layer(name, types, default=False, tensor=None)
    return Layer(name, types, isinstance(module, DEFAULT_TYPES), id(weight), weight.numel())
