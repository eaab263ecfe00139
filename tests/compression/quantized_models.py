"""Models whose quantised weights can be seen from the outside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Probe(nn.Linear):
    """Keeps the weight that its last forward computed with."""

    def forward(self, x: Tensor) -> Tensor:
        self.__dict__["seen"] = self.weight
        return super().forward(x)


def probe(weight: Any) -> nn.Sequential:
    values = torch.as_tensor(weight)
    layer = Probe(values.shape[1], values.shape[0], bias=False, dtype=values.dtype)
    layer.load_state_dict({"weight": values})
    return nn.Sequential(layer)


def used(model: nn.Sequential) -> Tensor:
    """The weight that the first layer computes with."""
    layer = model[0]
    model(torch.ones(1, layer.in_features, dtype=layer.weight.dtype))
    seen: Tensor = layer.__dict__["seen"]
    return seen


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def attributes(model: nn.Module) -> dict[str, set[str]]:
    return {name: set(module.__dict__) for name, module in model.named_modules()}


def images() -> Tensor:
    return torch.randn(8, 1, 8, 8)
