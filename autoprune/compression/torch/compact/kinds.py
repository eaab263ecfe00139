"""Where the channels of each kind of layer are: which dimension of which parameter, and which attribute counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Side: TypeAlias = Literal["in", "out", "both"]


@dataclass(frozen=True)
class Axis:
    """A dimension of a parameter or buffer that runs over channels."""

    name: str
    dimension: int


@dataclass(frozen=True)
class Kind:
    """The sides of a layer: `both` where what comes in and what goes out are the same channels."""

    types: tuple[type[nn.Module], ...]
    axes: Mapping[Side, tuple[Axis, ...]]
    counts: Mapping[Side, tuple[str, ...]] = field(default_factory=dict)


def _axes(*names: str, dimension: int = 0) -> tuple[Axis, ...]:
    return tuple(Axis(name, dimension) for name in names)


NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

OVER_CHANNELS = (nn.LayerNorm, nn.RMSNorm)
"""Norms that mix the channels: without some, the others come out otherwise."""

_NORM = _axes("weight", "bias", "running_mean", "running_var")

_DEPTHWISE = Kind(
    (_ConvNd,),
    {"both": _axes("weight", "bias")},
    {"both": ("in_channels", "out_channels", "groups")},
)

KINDS: tuple[Kind, ...] = (
    Kind(
        (_ConvTransposeNd,),
        {"out": (Axis("weight", 1), Axis("bias", 0)), "in": (Axis("weight", 0),)},
        {"out": ("out_channels",), "in": ("in_channels",)},
    ),
    Kind(
        (_ConvNd,),
        {"out": (Axis("weight", 0), Axis("bias", 0)), "in": (Axis("weight", 1),)},
        {"out": ("out_channels",), "in": ("in_channels",)},
    ),
    Kind(
        (nn.Linear,),
        {"out": (Axis("weight", 0), Axis("bias", 0)), "in": (Axis("weight", 1),)},
        {"out": ("out_features",), "in": ("in_features",)},
    ),
    Kind((_NormBase,), {"both": _NORM}, {"both": ("num_features",)}),
    Kind((nn.GroupNorm,), {"both": _axes("weight", "bias")}, {"both": ("num_channels",)}),
    Kind((nn.LayerNorm, nn.RMSNorm), {"both": _axes("weight", "bias", dimension=-1)}),
    Kind((nn.PReLU,), {"both": _axes("weight")}, {"both": ("num_parameters",)}),
    Kind((nn.Embedding, nn.EmbeddingBag), {"both": _axes("weight", dimension=1)}, {"both": ("embedding_dim",)}),
    Kind(
        (nn.RNNBase,),
        {"in": _axes("weight_ih_l0", "weight_ih_l0_reverse", dimension=1), "out": ()},
        {"in": ("input_size",)},
    ),
)


def kind_of(module: nn.Module) -> Kind | None:
    if is_depthwise(module):
        return _DEPTHWISE
    return next((kind for kind in KINDS if isinstance(module, kind.types)), None)


def axes_of(module: nn.Module, side: Side) -> tuple[Axis, ...]:
    """The dimensions that lose channels on this side, of the tensors that this very layer has."""
    kind = kind_of(module)
    own = () if kind is None else kind.axes.get(side, ())
    return tuple(axis for axis in own if getattr(module, axis.name, None) is not None)


def is_depthwise(module: nn.Module) -> bool:
    """Whether each channel of a convolution is computed from the same channel of its input alone."""
    return isinstance(module, _ConvNd) and 1 < module.groups == module.out_channels == module.in_channels


def convolution_groups(module: nn.Module) -> int:
    """In how many groups a convolution mixes its channels; 1 for a depthwise one, which has no choice."""
    return int(module.groups) if isinstance(module, _ConvNd) and not is_depthwise(module) else 1


def channel_axis(module: nn.Module) -> int:
    """Where the channels are in what enters and leaves a layer."""
    if isinstance(module, _ConvNd):
        return 1 - module.weight.dim()
    return 1 if isinstance(module, _NormBase | nn.GroupNorm | nn.PReLU) else -1
