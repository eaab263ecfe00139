"""What a PyTorch model offers to quantise, and what an entry asks of a layer that does not have it."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import UninitializedParameter

from autoprune.compression.core.config_list import Layer, Target
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.layers import types_of, uncalled
from autoprune.compression.torch.quantizers._settings import kinds_of
from autoprune.errors import Problem

_DEFAULT_TYPES: tuple[type[nn.Module], ...] = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Embedding,
)
_WITHOUT_A_TENSOR: tuple[type[nn.Module], ...] = (
    nn.ModuleList,
    nn.ModuleDict,
    nn.ParameterList,
    nn.ParameterDict,
    nn.RNNBase,
    nn.LSTMCell,
    nn.MultiheadAttention,
)


def layers_of(model: nn.Module) -> list[Layer]:
    """Every module by every name it has, each for itself: layers that share a weight may differ in bits.

    Those that return no tensor, or whose parent computes with their weight and never calls them, cannot be
    quantised.
    """
    never_called = uncalled(model)
    found = []
    for name, module in model.named_modules(remove_duplicate=False):
        weight = own_parameter(module, "weight")
        if isinstance(weight, UninitializedParameter):
            raise CompressionError(
                f"given a model whose layer {name!r} has no weights yet; expected initialised layers "
                "(run the model once on a batch)"
            )
        works = not isinstance(module, _WITHOUT_A_TENSOR) and id(module) not in never_called
        default = works and weight is not None and isinstance(module, _DEFAULT_TYPES)
        if name:
            found.append(Layer(name, types_of(module), default, id(module) if works else None))
    return found


def own_parameter(module: nn.Module, name: str) -> nn.Parameter | None:
    """A parameter registered in this module itself; None where a parametrisation or nothing stands there."""
    return dict(module.named_parameters(recurse=False, remove_duplicate=False)).get(name)


def master(module: nn.Module) -> nn.Parameter:
    """The weight in float, also while a quantised one stands in for it."""
    weight = own_parameter(module, "weight")
    assert weight is not None
    return weight


def missing(target: Target, module: nn.Module) -> list[Problem]:
    """What is wrong where an entry asks for a weight or an input that the layer does not have."""
    name, entry = target.layer.name, target.entry
    kinds = kinds_of(entry.settings)
    weight = own_parameter(module, "weight")
    given = f"quant_types {', '.join(kinds)} for {name!r}, a {type(module).__name__}"
    if "weight" in kinds and (weight is None or not weight.is_floating_point()):
        remedy = "its output may be quantised by an entry of its own"
        return [Problem(entry.where, given, "a layer with a weight in floating point", remedy=remedy)]
    if kinds == ("input",) and isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return [Problem(entry.where, given, "a layer whose input is floating point")]
    return []
