"""What a model has: parameters and how many of them are zero, beside what its pruners were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import masking, named_masks
from autoprune.compression.torch.compact.plan import Layer, Plan, plan_of
from autoprune.compression.torch.layers import COMPILED, original, prunable
from autoprune.compression.torch.sparse_kernels.kernels import SemiStructuredLinear, SparseLinear

Form: TypeAlias = Literal["dense", "masked", "compact", "sparse"]
Channels: TypeAlias = Mapping[str, tuple[int, int]]

_PARAMETRIZED = ".parametrizations"


@dataclass(frozen=True)
class Weight:
    """A weight's size and zeros, and the sparsity asked of it, if any was.

    Those of a compact model are of the weights it had: what went with channels of either side counts as zeros, as in
    the masked model that it was made of.
    """

    size: int
    zeros: int
    masked: bool
    requested: float | None


@dataclass(frozen=True)
class Counted:
    """A layer with parameters of its own. What it shares with a layer before it is counted there."""

    name: str
    type: str
    parameters: int
    nonzeros: int | None
    weights: Mapping[int, Weight]
    channels: Channels

    @property
    def requested(self) -> float | None:
        return requested(self.weights.values())

    @property
    def achieved(self) -> float | None:
        return achieved(self.weights.values())


def counted(model: nn.Module) -> list[Counted]:
    """Every layer that has parameters of its own, in the order of the model."""
    asked, plan = _asked(model), _plan(model)
    seen: set[int] = set()
    layers = []
    for name, module, parameters in _with_parameters(model):
        new = {id(each): each for each in parameters if id(each) not in seen}
        seen |= new.keys()
        nonzeros = None if model_is_meta(model) else sum(_nonzeros(each) for each in new.values())
        sizes = sum(each.numel() for each in new.values())
        weights = {} if nonzeros is None else _weights(module, asked)
        cut = plan.layers.get(name, Layer())
        asked_for, groups = plan.requested.get(name), getattr(module, "groups", 1)
        weights = {key: _before_cut(each, cut, asked_for, groups) for key, each in weights.items()}
        channels: Channels = {str(side): (len(kept.channels), kept.of) for side, kept in cut.sides.items()}
        layers.append(Counted(name, type(module).__name__, sizes, nonzeros, weights, channels))
    return layers


def form(model: nn.Module) -> Form:
    """What was done to a model, by what changes its cost most."""
    if any(isinstance(module, SparseLinear | SemiStructuredLinear) for module in model.modules()):
        return "sparse"
    if _plan(model).layers:
        return "compact"
    return "masked" if any(True for _ in masking.all_masked(model)) else "dense"


def in_all(layers: Iterable[Counted]) -> tuple[float | None, float | None]:
    """The sparsity requested and achieved: of the weights it was asked of, else of masked ones, else of all."""
    weights = list({key: weight for layer in layers for key, weight in layer.weights.items()}.values())
    asked = [each for each in weights if each.requested is not None]
    return requested(asked), achieved(asked or [each for each in weights if each.masked] or weights)


def requested(weights: Iterable[Weight]) -> float | None:
    asked = [(each.requested, each.size) for each in weights if each.requested is not None]
    total = sum(size for _, size in asked)
    return sum(sparsity * size for sparsity, size in asked) / total if total else None


def achieved(weights: Iterable[Weight]) -> float | None:
    counts = [(each.zeros, each.size) for each in weights]
    total = sum(size for _, size in counts)
    return sum(zeros for zeros, _ in counts) / total if total else None


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Its parameters and buffers, each once."""
    return list({id(each): each for each in (*model.parameters(), *model.buffers())}.values())


def model_is_meta(model: nn.Module) -> bool:
    return any(each.is_meta for each in tensors_of(model))


def check_initialised(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise CompressionError(
                f"measure: given a model whose {original(name)!r} has no values yet; expected initialised layers (run "
                "the model once on a batch)"
            )


def owner(name: str) -> str:
    """The layer that a module is a part of: a parametrized layer has its parameters in modules of their own."""
    return original(name).partition(_PARAMETRIZED)[0]


def _with_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    modules: dict[str, nn.Module] = {}
    parameters: dict[str, list[nn.Parameter]] = {}
    for name, module in model.named_modules():
        own = [each for _, each in module.named_parameters(recurse=False, remove_duplicate=False)]
        if _PARAMETRIZED not in f".{name}":
            modules[original(name)] = module
        if own:
            parameters.setdefault(owner(name), []).extend(own)
    return ((name, modules[name], own) for name, own in parameters.items())


def _asked(model: nn.Module) -> dict[int, float | None]:
    """The sparsity asked of each masked parameter, by identity: the highest where several pruners asked."""
    found = {}
    for mask in named_masks.carried(model):
        sparsities = [each.sparsity for each in mask.requests if each.sparsity is not None]
        found[id(mask.module.get_parameter(mask.parameter))] = max(sparsities, default=None)
    return found


def _weights(module: nn.Module, asked: Mapping[int, float | None]) -> dict[int, Weight]:
    if isinstance(module, SparseLinear):
        size = module.out_features * module.in_features
        zeros = size - _nonzeros(module.values)
        return {id(module.values): Weight(size, zeros, masked=False, requested=None)}
    own = [module.get_parameter(name) for name in prunable(module)]
    return {
        id(each): Weight(each.numel(), each.numel() - _nonzeros(each), id(each) in asked, asked.get(id(each)))
        for each in own
    }


def _plan(model: nn.Module) -> Plan:
    """What a compact model has lost; an empty plan of any other."""
    return plan_of(model._modules.get(COMPILED) or model) or Plan({})


def _before_cut(weight: Weight, cut: Layer, requested: float | None, groups: int) -> Weight:
    """As it was when the pruner was asked, with all that went with channels of either side among its zeros."""
    size = weight.size
    for kept in cut.sides.values():
        size = size * kept.of // len(kept.channels)
    size = size * groups // cut.groups if cut.groups else size
    asked = weight.requested if weight.requested is not None else requested
    return replace(weight, size=size, zeros=weight.zeros + size - weight.size, requested=asked)


def _nonzeros(parameter: Tensor) -> int:
    values = parameter.detach()
    semi_structured = isinstance(values, torch.sparse.SparseSemiStructuredTensor)
    return int(torch.count_nonzero(values.to_dense() if semi_structured else values))
