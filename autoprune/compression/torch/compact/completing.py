"""Masks by channel: of which channels they leave nothing, and masks that leave nothing of what a plan removes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from autoprune.compression.torch.compact.agreement import Flags
from autoprune.compression.torch.compact.cutting import cuts_of
from autoprune.compression.torch.compact.graph import Graph
from autoprune.compression.torch.compact.kinds import Axis, Side, axes_of, convolution_groups
from autoprune.compression.torch.compact.plan import Plan
from autoprune.compression.torch.layers import BATCH_NORMS, original
from autoprune.compression.torch.named_masks import NamedMask

Keeps: TypeAlias = dict[int, Tensor]
"""What is kept of parameters, by their identity."""

_STEERING = (nn.PReLU,)
_BY_ALL = (*BATCH_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RNNBase, nn.modules.instancenorm._InstanceNorm)


def keeps_of(masks: list[NamedMask]) -> Keeps:
    keeps: Keeps = {}
    for each in masks:
        parameter = each.module.get_parameter(each.parameter)
        keep = each.keep.to(parameter.device)
        keeps[id(parameter)] = keeps[id(parameter)] & keep if id(parameter) in keeps else keep
    return keeps


def gone_channels(graph: Graph, model: nn.Module, keeps: Keeps) -> dict[tuple[str, Side], Flags]:
    """The channels of each side of a layer of which masks leave nothing."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    found: dict[tuple[str, Side], Flags] = {}
    for node in graph.layers():
        name = node.name or ""
        for side in node.sides:
            if name in parameters:
                keep = keeps.get(id(parameters[name]))
                flags = None if keep is None else _nothing(keep, node.dimension or 0)
            else:
                flags = gone_of(modules[name], side, keeps)
            if flags is not None and flags.any():
                found[name, side] = flags
    return found


def completed(model: nn.Module, plan: Plan, keeps: Keeps) -> dict[str, dict[str, Tensor]]:
    """These masks, extended to all that the plan removes: as `compress` returns them."""
    cuts = cuts_of(model, plan)
    masks: dict[str, dict[str, Tensor]] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            keep, own = keeps.get(id(parameter)), cuts.get(id(parameter))
            if id(parameter) in seen or (keep is None and own is None):
                continue
            seen.add(id(parameter))
            whole = torch.ones_like(parameter, dtype=torch.bool) if keep is None else keep
            masks.setdefault(original(name), {})[key] = whole.clone() if own is None else whole & own.staying()
    return masks


def gone_of(module: nn.Module, side: Side, keeps: Mapping[int, Tensor]) -> Flags | None:
    """The channels of a side that masks leave nothing of: a filter goes with its weights, a norm's channel with its
    scale and its shift."""
    axes = [axis for axis in axes_of(module, side) if isinstance(getattr(module, axis.name), nn.Parameter)]
    judged = axes if isinstance(module, _BY_ALL) else [axis for axis in axes if axis.name == "weight"]
    found = [keeps.get(id(getattr(module, axis.name))) for axis in judged]
    if not judged or isinstance(module, _STEERING) or any(keep is None for keep in found):
        return None
    flags = [_by_channel(module, axis, keep) for axis, keep in zip(judged, found, strict=True) if keep is not None]
    every: Flags = np.logical_and.reduce(flags)
    return every


def _by_channel(module: nn.Module, axis: Axis, keep: Tensor) -> Flags:
    groups = convolution_groups(module)
    if groups > 1 and axis.dimension == 1:
        by_group = keep.reshape(groups, keep.shape[0] // groups, keep.shape[1], -1)
        flags: Flags = (~by_group.any(3).any(1)).flatten().cpu().numpy()
        return flags
    return _nothing(keep, axis.dimension)


def _nothing(keep: Tensor, dimension: int) -> Flags:
    others = [each for each in range(keep.dim()) if each != dimension % keep.dim()]
    kept = keep.any(dim=others) if others else keep
    flags: Flags = (~kept).cpu().numpy()
    return flags
