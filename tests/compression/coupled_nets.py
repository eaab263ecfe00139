"""Nets whose layers go together, and what tests ask of their masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from autoprune.compression.torch import L1NormPruner, speedup
from tests.compression.zoo import randomise

Masks: TypeAlias = Mapping[str, Mapping[str, Tensor]]
CONVOLUTIONS = {"op_types": ["Conv2d"]}
IMAGE = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(3))


class Residual(nn.Module):
    """stem and second are added; first is on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.first, self.bn1 = nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.bn2 = nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Any:
        stream = torch.relu(self.bn0(self.stem(image)))
        inner = torch.relu(self.bn1(self.first(stream)))
        return self.fc(torch.relu(stream + self.bn2(self.second(inner))).mean((2, 3)))


class ConcatAdd(nn.Module):
    """The first channels of `whole` are added to those of `left`, the rest to those of `right`."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.whole = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 6, 3), nn.Conv2d(3, 10, 3)
        self.last = nn.Conv2d(10, 3, 1)

    def forward(self, image: Tensor) -> Any:
        return self.last(torch.cat([self.left(image), self.right(image)], dim=1) + self.whole(image))


def built(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    net = kind()
    randomise(net)
    return net.eval()


def chain(*layers: nn.Module) -> nn.Sequential:
    net = nn.Sequential(*layers, nn.Conv2d(8, 2, 1))
    randomise(net)
    return net.eval()


def norms(net: nn.Module, name: str) -> Tensor:
    return net.get_submodule(name).get_parameter("weight").detach().abs().flatten(1).sum(1)


def smallest(scores: Tensor, count: int) -> list[int]:
    return sorted(torch.argsort(scores)[:count].tolist())


def gone(masks: Masks, name: str) -> list[int]:
    """The filters of which nothing is kept."""
    return torch.nonzero(~masks[name]["weight"].flatten(1).any(1)).flatten().tolist()


def equal(one: Masks, other: Masks) -> bool:
    same = one.keys() == other.keys() and all(one[layer].keys() == other[layer].keys() for layer in one)
    return same and all(torch.equal(one[layer][name], other[layer][name]) for layer in one for name in one[layer])


def outputs(net: nn.Module, example: Any) -> list[Tensor]:
    with torch.no_grad():
        found = (
            net(**example)
            if isinstance(example, dict)
            else net(*example)
            if isinstance(example, tuple)
            else net(example)
        )
    return list(found.values()) if isinstance(found, dict) else [found]


def agree(net: nn.Module, masks: Masks, example: Any) -> bool:
    """Whether the masked model and the one without the masked channels give the same."""
    small = speedup(net, masks, example)
    pairs = zip(outputs(net, example), outputs(small, example), strict=True)
    return all(torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in pairs)


def aware(net: nn.Module, sparsity: float, example: Any = IMAGE, **more: Any) -> Masks:
    entry = {"sparsity": sparsity, "op_types": ["default"], "mode": "dependency_aware", **more}
    return L1NormPruner(net, [entry], dummy_input=example).compress()[1]


def paired(net: nn.Module) -> L1NormPruner:
    return L1NormPruner(net, [{"sparsity": 0.5, **CONVOLUTIONS}], dependency_aware=True, dummy_input=IMAGE)


def trained(net: nn.Module, steps: int = 4) -> None:
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(torch.randn(4, 3, 12, 12)), torch.randint(4, (4,))))
        optimizer.step()
    net.eval()
