"""SynFlow: what a weight contributes to the flow through the network, ranked in many small rounds, without data.

H. Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow", 2020. All
parameters are taken absolute, the input is ones, R is the sum of the output, and a weight scores |w dR/dw|. After round
r of 100 a share density^(r / 100) is kept: what is pruned early makes what is left on its path count more, so that no
layer is cut through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoprune.compression.torch.copying import plain_copy
from autoprune.compression.torch.feeding import call
from autoprune.compression.torch.nested import each_tensor, tensors
from autoprune.compression.torch.untouched import random_state_kept
from autoprune.search.heuristics.base import Heuristic, Subject
from autoprune.search.scaling import Kind

ROUNDS = 100


class Synflow(Heuristic):
    name = "synflow"
    places: ClassVar[Mapping[Kind, int]] = {"weights": 20}
    pruner = "level"

    def sparsities(self, subject: Subject) -> Mapping[str, float]:
        model = _absolute(subject.model)
        weights = {name: model.get_submodule(name).get_parameter("weight") for name in subject.scaler.layers}
        ones = each_tensor(subject.example, lambda tensor: _ones(tensor))
        density = 1 - subject.scaler.even_sparsity
        keep: dict[str, Tensor] = {}
        with random_state_kept():
            for number in range(1, ROUNDS + 1):
                keep = _largest(_scores(model, weights, ones), density ** (number / ROUNDS))
                with torch.no_grad():
                    for name, weight in weights.items():
                        weight.mul_(keep[name])
        return subject.scaler.of_groups({name: 1 - mask.sum().item() / mask.numel() for name, mask in keep.items()})


def _absolute(model: nn.Module) -> nn.Module:
    """A copy in double precision through which ones flow unhindered: products over many layers grow large."""
    copied = plain_copy(model, {}).double().eval()
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.requires_grad_(True).abs_()
        for module in copied.modules():
            if isinstance(module, _BatchNorm):
                for shift in (module.bias, module.running_mean):
                    if shift is not None:
                        shift.zero_()
    return copied


def _ones(tensor: Tensor) -> Tensor:
    return torch.ones_like(tensor, dtype=torch.double if tensor.is_floating_point() else None)


def _scores(model: nn.Module, weights: Mapping[str, Tensor], ones: object) -> dict[str, Tensor]:
    flow = sum(each.sum() for each in tensors(call(model, ones)) if each.is_floating_point())
    assert isinstance(flow, Tensor)
    found = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    return {
        name: torch.zeros_like(weight) if gradient is None else (gradient * weight).detach().abs().contiguous()
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
    }


def _largest(scores: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """Masks of the highest scores of all, at least one of each layer."""
    for own in scores.values():
        own.view(-1)[own.argmax()] = torch.inf
    pooled = torch.cat([own.flatten() for own in scores.values()]).cpu().numpy()
    count = max(round(density * len(pooled)), len(scores))
    threshold = np.partition(pooled, len(pooled) - count)[len(pooled) - count]
    kept = pooled > threshold
    kept[np.flatnonzero(pooled == threshold)[: count - int(kept.sum())]] = True
    parts = torch.split(torch.from_numpy(kept), [own.numel() for own in scores.values()])
    return {name: part.view_as(own).to(own.device) for (name, own), part in zip(scores.items(), parts, strict=True)}
