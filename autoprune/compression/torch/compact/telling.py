"""Values under which a mistake shows: two models that agree on them read the same channels.

Scales of zero, as of the last norm of a residual branch before training, or of a millionth, as of a new LayerScale,
hide what a branch computes; so does an image of zeros. While two models are compared, noise takes their place in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autoprune.compression.torch.compact.kinds import NORMS, kind_of
from autoprune.compression.torch.layers import holders

_SMALL = 0.1
_FIRST = 1024


def telling_input(given: Tensor) -> Tensor:
    """Of a constant tensor, one that is nowhere less."""
    if not _is_float(given) or given.numel() < 2 or not _is_constant(given):
        return given
    return given + _noise(given) * float(given.flatten()[0].abs().clamp(1, 1e3).nan_to_num(1))


def telling_parameters(model: nn.Module) -> dict[int, Tensor]:
    """Values for the scales of norms, for what no layer explains and is small, and for all that is constant."""
    found: dict[int, Tensor] = {}
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if _is_float(parameter) and parameter.numel() and _hides(module, name, parameter.detach()):
                noise = _noise(parameter) + 0.5
                inputs = parameter[0].numel() if parameter.dim() > 1 and kind_of(module) is not None else 1
                found[id(parameter)] = (noise - 1) / inputs**0.5 if inputs > 1 else noise
    return found


def moved(model: nn.Module, values: Mapping[int, Tensor], by: float) -> dict[int, Tensor]:
    """With the shifts of all layers, those of `values` if they are there, so much higher."""
    shifts = [
        module.get_parameter("bias")
        for module in model.modules()
        if kind_of(module) is not None and isinstance(module._parameters.get("bias"), nn.Parameter)
    ]
    return {**values, **{id(each): values.get(id(each), each.detach()) + by for each in shifts}}


@contextmanager
def swapped(model: nn.Module, values: Mapping[int, Tensor]) -> Iterator[None]:
    """While inside, these parameters, by identity, have other values."""
    places = [(owner, number) for number, owners in holders(model).items() if number in values for owner in owners]
    before = [(module, name, module._parameters[name]) for (module, name), _ in places]
    try:
        for (module, name), number in places:
            module._parameters[name] = nn.Parameter(values[number], requires_grad=False)
        yield
    finally:
        for module, name, parameter in before:
            module._parameters[name] = parameter


def _hides(module: nn.Module, name: str, value: Tensor) -> bool:
    if isinstance(module, NORMS) and name == "weight":
        return True
    small = kind_of(module) is None and not isinstance(module, nn.MultiheadAttention)
    return _is_constant(value) or (small and float(value.abs().max()) < _SMALL)


def _is_constant(value: Tensor) -> bool:
    flat = value.flatten()
    return not any(bool((part != flat[0]).any()) for part in (flat[:_FIRST], flat))


def _is_float(value: Tensor) -> bool:
    return value.is_floating_point()


def _noise(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(like.shape, generator=generator).to(like)
