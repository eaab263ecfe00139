"""Masks and models brought together by name: the masks a model carries, and given ones checked against a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError, remedy
from autoprune.compression.torch import masking
from autoprune.compression.torch.layers import original
from autoprune.compression.torch.masking import Request
from autoprune.errors import Problem

NamedTensors: TypeAlias = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class NamedMask:
    """The mask of one parameter, and what the pruners of that parameter were asked for."""

    layer: str
    parameter: str
    module: nn.Module
    keep: Tensor
    requests: tuple[Request, ...]


def carried(model: nn.Module) -> list[NamedMask]:
    """What a model is masked with; a shared parameter comes once, under its first name."""
    names = {id(module): original(name) for name, module in model.named_modules()}
    found: dict[int, NamedMask] = {}
    for module, parameter, held in masking.all_masked(model):
        if id(held) not in found:
            requests = tuple(vote.request for vote in held.votes.values())
            found[id(held)] = NamedMask(names[id(module)], parameter, module, held.kept(), requests)
    return list(found.values())


def matched(model: nn.Module, masks: object, called: str) -> list[NamedMask]:
    """Given masks, as `compress` returns them, each with its place in the model; what does not fit is an error."""
    if not isinstance(masks, Mapping) or not masks:
        given = "no masks" if isinstance(masks, Mapping) else f"{type(masks).__name__}"
        raise CompressionError(f"{called}: given {given}; expected masks as compress() returns them: a dict by layer")
    modules = {original(name): module for name, module in model.named_modules(remove_duplicate=False)}
    problems: list[Problem] = []
    found = []
    for layer, parameters in masks.items():
        module = modules.get(original(str(layer)))
        if module is None:
            valid = remedy(str(layer), _with_parameters(modules))
            problems.append(Problem(called, f"a mask for {layer!r}", "the name of a layer", remedy=valid))
        elif not isinstance(parameters, Mapping):
            problems.append(Problem(f"{called}: {layer}", type(parameters).__name__, "a dict by parameter name"))
        else:
            found += [
                NamedMask(original(layer), name, module, keep, _requests(module, name))
                for name, keep in parameters.items()
                if _fits(f"{called}: {layer}", module, name, keep, problems)
            ]
    if problems:
        raise CompressionError("\n".join(str(problem) for problem in problems))
    return found


def _with_parameters(modules: Mapping[str, nn.Module]) -> list[str]:
    return [name for name, module in modules.items() if next(module.parameters(recurse=False), None) is not None]


def _fits(where: str, module: nn.Module, name: str, keep: object, problems: list[Problem]) -> bool:
    own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
    if name not in own:
        problems.append(
            Problem(where, f"a mask for {name!r}", "the name of a parameter", remedy=remedy(str(name), own))
        )
    elif not isinstance(keep, Tensor) or keep.dtype != torch.bool:
        given = str(keep.dtype) if isinstance(keep, Tensor) else type(keep).__name__
        problems.append(Problem(f"{where}.{name}", given, "a tensor of torch.bool, true where a weight is kept"))
    elif keep.shape != own[name].shape:
        problems.append(Problem(f"{where}.{name}", f"shape {tuple(keep.shape)}", str(tuple(own[name].shape))))
    else:
        return True
    return False


def _requests(module: nn.Module, name: str) -> tuple[Request, ...]:
    held = masking.find(module, name)
    return () if held is None else tuple(vote.request for vote in held.votes.values())
