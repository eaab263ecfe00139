"""Which layers of a model share one sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch import nn

from autoprune.compression.torch.layers import layers_of
from autoprune.errors import UsageError
from autoprune.records import Group
from autoprune.search.channels import Channels, Removable, removable

Granularity: TypeAlias = Literal["layer", "block", "stage"]


def weight_groups(model: nn.Module, granularity: Granularity) -> tuple[list[Group], dict[str, int]]:
    """The groups of layers whose single weights can go, and the number of weights of each layer."""
    parameters = {id(each): each for each in model.parameters()}
    sizes: dict[str, int] = {}
    for layer in layers_of(model):
        if layer.default and layer.tensor is not None and layer.parameter == "weight":
            _check_is_part(layer.name, model)
            weight = model.get_submodule(layer.name).get_parameter("weight")
            if parameters.pop(id(weight), None) is not None:
                sizes[layer.name] = weight.numel()
    if not sizes:
        raise UsageError("given a model without a layer that can be pruned, such as a convolution or a linear layer")
    members: dict[str, list[str]] = {}
    for name in sizes:
        members.setdefault(part_of(name, granularity), []).append(name)
    groups = [Group(name, tuple(layers), sum(sizes[layer] for layer in layers)) for name, layers in members.items()]
    return groups, sizes


def filter_groups(
    model: nn.Module, example: Any, granularity: Granularity, found: Removable | None = None
) -> tuple[list[Group], Removable]:
    """The groups of layers whose filters can go, those that go together in one, and all that can be removed.

    What goes together is in the part of the model that its first layer is in. What was `found` is not looked for again.
    """
    found = found or removable(model, example)
    members: dict[str, list[Channels]] = {}
    for channels in found.channels:
        members.setdefault(part_of(channels.layers[0], granularity), []).append(channels)
    groups = [
        Group(
            name,
            tuple(layer for each in own for layer in each.layers),
            sum(size for each in own for size in each.weights.values()),
            sum(each.steps for each in own),
        )
        for name, own in members.items()
    ]
    return groups, found


def _check_is_part(layer: str, model: nn.Module) -> None:
    if not layer:
        raise UsageError(
            f"given a model that is itself a layer, {type(model).__name__}; expected one with layers in it, "
            "such as nn.Sequential(layer)"
        )


def part_of(layer: str, granularity: Granularity) -> str:
    """The layer itself, the module it is in, or the first step of its name: the stage."""
    match granularity:
        case "layer":
            return layer
        case "block":
            return layer.rpartition(".")[0] or layer
        case "stage":
            return layer.partition(".")[0]


def by_layer(groups: Mapping[str, Group]) -> dict[str, str]:
    """The group of each layer."""
    return {layer: group.name for group in groups.values() for layer in group.layers}
