"""What a PyTorch model offers to prune: its layers as selectors see them, and their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from autoprune.compression.core.config_list import Layer, Target
from autoprune.compression.core.errors import CompressionError, remedy

Types: TypeAlias = tuple[type[nn.Module], ...]

DEFAULT_TYPES: Types = (
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
BATCH_NORMS: Types = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
COMPILED = "_orig_mod"
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class LayerInfo:
    """A layer as a pruner's formula gets it: `settings` holds what config_list says of it."""

    name: str
    module: nn.Module
    parameter: str
    settings: Mapping[str, Any]

    @property
    def weight(self) -> nn.Parameter:
        return self.module.get_parameter(self.parameter)

    @property
    def called(self) -> str:
        """How messages name it."""
        return repr(self.name) if self.parameter == "weight" else f"{self.name!r} ({self.parameter})"


def layer_info(model: nn.Module, target: Target) -> LayerInfo:
    """A layer that was selected, as formulas get it."""
    module = model.get_submodule(target.layer.name)
    module = module._modules.get(COMPILED) or module
    return LayerInfo(target.layer.name, module, target.layer.parameter, target.entry.settings)


def original(name: str) -> str:
    """The name that a layer had before torch.compile wrapped the model, or a part of it."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def filters_first(module: nn.Module, values: Tensor) -> Tensor:
    """A weight, or anything of its shape, with the output channels first and the inputs of one of them second.

    A transposed convolution keeps its inputs first, and its outputs by groups.
    """
    if not isinstance(module, _TRANSPOSED):
        return values
    groups: int = module.groups
    inputs, outputs, *kernel = values.shape
    by_group = values.reshape(groups, inputs // groups, outputs, *kernel).transpose(1, 2)
    return by_group.reshape(groups * outputs, inputs // groups, *kernel)


def as_stored(module: nn.Module, values: Tensor) -> Tensor:
    """What `filters_first` gave, in the order of the weight again."""
    if not isinstance(module, _TRANSPOSED):
        return values
    groups: int = module.groups
    outputs, inputs, *kernel = values.shape
    by_group = values.reshape(groups, outputs // groups, inputs, *kernel).transpose(1, 2)
    return by_group.reshape(groups * inputs, outputs // groups, *kernel)


def layers_of(model: nn.Module, supported: Types = ()) -> list[Layer]:
    """Every module by every name it has, in the order of the model; one with several weights comes for each.

    `supported` narrows what can be pruned to these types; where no default type is among them, all of them are.
    """
    default = tuple(kind for kind in DEFAULT_TYPES if kind in supported) or supported or DEFAULT_TYPES
    found = []
    for path, module in model.named_modules(remove_duplicate=False):
        if COMPILED in module._modules:
            continue
        name = original(path)
        weights = prunable(module) if not supported or isinstance(module, supported) else []
        for weight in weights:
            if isinstance(module.get_parameter(weight), UninitializedParameter):
                raise CompressionError(
                    f"given a model whose layer {name!r} has no weights yet; expected initialised layers "
                    "(run the model once on a batch)"
                )
            found.append(_layer(name, module, weight, default))
        if name and not weights:
            obstacle = obstacle_of(module)
            stands_in = bool(obstacle) and isinstance(module, default)
            found.append(Layer(name, types_of(module), stands_in, tensor=None, obstacle=obstacle))
    return found


def uncalled(model: nn.Module) -> set[int]:
    """Modules that are never called, by identity: attention computes with the weight of its `out_proj` itself."""
    return {id(module.out_proj) for module in model.modules() if isinstance(module, nn.MultiheadAttention)}


def obstacle_of(module: nn.Module) -> str:
    """What stands in the place of a weight, if anything does."""
    if parametrize.is_parametrized(module, "weight"):
        return "whose weight is parametrized (remove_parametrizations gives it back)"
    if any(name in module._parameters for name in ("weight_orig", "weight_g")):
        return "whose weight is computed from others (torch.nn.utils.prune.remove or remove_weight_norm gives it back)"
    return ""


def prunable(module: nn.Module) -> list[str]:
    """The parameters of this very module that hold weights: not biases, nor what a parametrisation stands for."""
    own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
    if isinstance(module, nn.RNNBase):
        return [name for name in own if name.startswith("weight_")]
    if isinstance(module, nn.MultiheadAttention):
        return [name for name in own if name.endswith("proj_weight")]
    return [name for name in own if name == "weight"]


def companions(module: nn.Module) -> list[str]:
    """What goes with a pruned channel: the shift of a BatchNorm."""
    return ["bias"] if isinstance(module, BATCH_NORMS) and module.bias is not None else []


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
    layers: dict[str, list[Layer]] = {}
    for layer in layers_of(model):
        if layer.tensor is not None:
            layers.setdefault(layer.name, []).append(layer)
    wanted = [name for name, own in layers.items() if own[0].default] if names is None else list(names)
    sizes: dict[str, int] = {}
    owner: dict[int | None, str] = {}
    for name in wanted:
        if name not in layers:
            raise CompressionError(
                f"layer_sizes: given {name!r}; expected the name of a layer with weights ({remedy(name, layers)})"
            )
        first = owner.setdefault(layers[name][0].tensor, name)
        if first == name:
            sizes[name] = sum(layer.size for layer in layers[name])
        elif names is not None:
            raise CompressionError(f"layer_sizes: given {first!r} and {name!r}, which share a weight; name one of them")
    return sizes


def _layer(name: str, module: nn.Module, parameter: str, default: Types) -> Layer:
    weight = module.get_parameter(parameter)
    return Layer(name, types_of(module), isinstance(module, default), id(weight), weight.numel(), parameter)


def types_of(module: nn.Module) -> tuple[str, ...]:
    """The names of its class and of the bases; the projection of an attention is of its type, too."""
    bases = (base for base in type(module).__mro__ if issubclass(base, nn.Module) and base is not nn.Module)
    own = tuple(base.__name__ for base in bases)
    return (*own, nn.MultiheadAttention.__name__) if isinstance(module, NonDynamicallyQuantizableLinear) else own
