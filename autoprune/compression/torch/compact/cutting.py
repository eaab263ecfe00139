"""Applies a plan to a model: a copy of it in which every layer has only the channels that stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.torch.compact.kinds import Side, axes_of, convolution_groups, kind_of
from autoprune.compression.torch.compact.plan import Kept, Layer, Plan
from autoprune.compression.torch.copying import Model, plain_copy

_Index = NDArray[np.intp]


@dataclass
class Cut:
    """What becomes of one tensor: the channels that stay of its dimensions, or of both where they are grouped."""

    tensor: Tensor
    dimensions: dict[int, _Index] = field(default_factory=dict)
    grouped: tuple[_Index, _Index] | None = None

    def of(self, values: Tensor) -> Tensor:
        if self.grouped is not None:
            rows, columns = (torch.from_numpy(index).to(values.device) for index in self.grouped)
            values = values[rows[:, None], columns]
        for dimension, index in self.dimensions.items():
            values = values.index_select(dimension, torch.from_numpy(index).to(values.device))
        return values

    def staying(self) -> Tensor:
        """True for what stays: of the tensor's shape, or one that spreads to it."""
        shape, device = self.tensor.shape, self.tensor.device
        keep = torch.ones([1] * len(shape), dtype=torch.bool, device=device)
        if self.grouped is not None:
            rows, columns = (torch.from_numpy(index).to(device) for index in self.grouped)
            keep = torch.zeros(*shape[:2], *[1] * (len(shape) - 2), dtype=torch.bool, device=device)
            keep[rows[:, None], columns] = True
        for dimension, index in self.dimensions.items():
            marks = torch.zeros(shape[dimension], dtype=torch.bool, device=device)
            marks[torch.from_numpy(index).to(device)] = True
            keep = keep & marks.view([-1 if each == dimension else 1 for each in range(len(shape))])
        return keep


def cut(model: Model, plan: Plan, masks: Mapping[int, Tensor]) -> Model:
    """A smaller copy. `masks`, by the identity of a parameter, zero what is masked of what stays."""
    cuts = cuts_of(model, plan)
    instead: dict[int, Tensor] = {}
    for number, tensor in _tensors(model):
        own = cuts.get(number)
        if own is None and number not in masks:
            continue
        values = tensor.detach() if own is None else own.of(tensor.detach())
        if (keep := masks.get(number)) is not None:
            values = torch.where(keep if own is None else own.of(keep), values, 0)
        instead[number] = _like(tensor, values)
    small = plain_copy(model, instead)
    _renumber(small, plan)
    return small


def check_plan(model: nn.Module, plan: Plan) -> None:
    """Whether a plan is for this model: the same names, as many channels, and groups that stay of one size."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    for name, layer in plan.layers.items():
        if name not in modules and name not in parameters:
            valid = remedy(name, [each for each in (*modules, *parameters) if each])
            raise CompressionError(f"given a plan for the layer {name!r}; expected one of this model ({valid})")
        for side, kept in layer.sides.items():
            sizes = _parameter_size(parameters[name], layer) if name in parameters else _sizes(modules[name], side)
            if sizes != {kept.of}:
                had = " or ".join(map(str, sorted(sizes))) or "no"
                raise CompressionError(
                    f"given a plan for {kept.of} channels ({side}) of {name!r}, which has {had}; "
                    "expected the model that was made compact (the same class with the same arguments)"
                )
        for attribute in layer.attributes:
            if not isinstance(getattr(modules.get(name), attribute, None), int):
                raise CompressionError(f"given a plan for {name}.{attribute}; expected a number that the model has")
        if name in modules and not _groups_are_whole(modules[name], layer):
            raise CompressionError(
                f"given a plan that splits the groups of {name!r}; expected as many channels in each"
            )


def _parameter_size(parameter: nn.Parameter, layer: Layer) -> set[int]:
    dimension = layer.dimension
    fits = dimension is not None and "both" in layer.sides and 0 <= dimension < parameter.dim()
    return {parameter.shape[dimension]} if fits and dimension is not None else set()


def _groups_are_whole(module: nn.Module, layer: Layer) -> bool:
    if isinstance(module, nn.GroupNorm) and "both" in layer.sides:
        return {module.num_channels // module.num_groups} >= _group_sizes(layer.sides["both"], module.num_groups)
    if not isinstance(module, _ConvNd) or convolution_groups(module) == 1:
        return True
    sides: tuple[tuple[Side, int], ...] = (("out", module.out_channels), ("in", module.in_channels))
    stay = [Kept(size, tuple(_stays(layer, side, size).tolist())) for side, size in sides]
    found = [{channel // (each.of // module.groups) for channel in each.channels} for each in stay]
    return found[0] == found[1] and all(len(_group_sizes(each, module.groups)) == 1 for each in stay)


def _group_sizes(kept: Kept, groups: int) -> set[int]:
    """How many channels stay in the groups of which any stay."""
    return set(Counter(channel // (kept.of // groups) for channel in kept.channels).values())


def _sizes(module: nn.Module, side: Side) -> set[int]:
    kind = kind_of(module)
    counts = () if kind is None else kind.counts.get(side, ())
    sizes = {int(getattr(module, name)) for name in counts}
    return sizes or {getattr(module, axis.name).shape[axis.dimension] for axis in axes_of(module, side)}


def _tensors(model: nn.Module) -> Iterator[tuple[int, Tensor]]:
    seen: set[int] = set()
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield id(tensor), tensor


def cuts_of(model: nn.Module, plan: Plan) -> dict[int, Cut]:
    """What a plan means for each parameter and buffer, by its identity."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    cuts: dict[int, Cut] = {}
    for name, layer in plan.layers.items():
        if name in parameters:
            tensor = parameters[name]
            cuts.setdefault(id(tensor), Cut(tensor)).dimensions[layer.dimension or 0] = _index(layer.sides["both"])
            continue
        module = modules[name]
        grouped = convolution_groups(module) > 1
        for side, kept in layer.sides.items():
            for axis in axes_of(module, side):
                tensor = getattr(module, axis.name)
                own = cuts.setdefault(id(tensor), Cut(tensor))
                if grouped and axis.name == "weight":
                    own.grouped = _grouped(module, layer)
                else:
                    own.dimensions[axis.dimension % tensor.dim()] = _index(kept)
    return cuts


def _index(kept: Kept) -> _Index:
    return np.array(kept.channels, dtype=np.intp)


def _grouped(module: nn.Module, layer: Layer) -> tuple[_Index, _Index]:
    """The rows of a grouped convolution's weight that stay, and for each the columns, which count within its group."""
    assert isinstance(module, _ConvNd)
    rows, columns = _stays(layer, "out", module.out_channels), _stays(layer, "in", module.in_channels)
    by_row, by_column = module.out_channels // module.groups, module.in_channels // module.groups
    if isinstance(module, _ConvTransposeNd):
        rows, columns, by_row, by_column = columns, rows, by_column, by_row
    within: Sequence[_Index] = [columns[columns // by_column == group] - group * by_column for group in rows // by_row]
    return rows, np.stack(within)


def _stays(layer: Layer, side: Side, size: int) -> _Index:
    return _index(layer.sides[side]) if side in layer.sides else np.arange(size)


def _like(tensor: Tensor, values: Tensor) -> Tensor:
    """As the old one was: a parameter or a buffer, in its memory format."""
    for layout in (torch.channels_last, torch.channels_last_3d):
        if values.dim() == (4 if layout is torch.channels_last else 5) and _is_only(tensor, layout):
            values = values.contiguous(memory_format=layout)
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _is_only(tensor: Tensor, layout: torch.memory_format) -> bool:
    return tensor.is_contiguous(memory_format=layout) and not tensor.is_contiguous()


def _renumber(small: nn.Module, plan: Plan) -> None:
    """Make the attributes of layers say what they are now."""
    modules = dict(small.named_modules())
    for name, layer in plan.layers.items():
        module = modules.get(name)
        if module is None:
            continue
        kind = kind_of(module)
        if isinstance(module, _ConvNd) and convolution_groups(module) > 1:
            outputs = _stays(layer, "out", module.out_channels)
            module.groups = len(np.unique(outputs // (module.out_channels // module.groups)))
        if isinstance(module, nn.GroupNorm):
            kept = layer.sides["both"]
            module.num_groups = module.num_groups * len(kept.channels) // kept.of
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.normalized_shape = (*module.normalized_shape[:-1], len(layer.sides["both"].channels))
        for side, kept in layer.sides.items():
            for attribute in kind.counts.get(side, ()) if kind is not None else ():
                setattr(module, attribute, len(kept.channels))
        for attribute, count in layer.attributes.items():
            setattr(module, attribute, count)
