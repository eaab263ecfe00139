"""Small models, and one thread for each: the machine's cores are shared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.conv1 = nn.Conv2d(4, 6, 3)
        self.fc = nn.Linear(6 * 4 * 4, 10)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.act(self.conv1(self.act(self.bn(self.conv0(image)))))
        out: Tensor = self.fc(hidden.flatten(1))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, token: Tensor) -> Tensor:
        out: Tensor = self.head(self.mix(self.embed(token)))
        return out


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def tied() -> Tied:
    return Tied()


Train = Callable[..., None]


@pytest.fixture
def train() -> Train:
    """Some steps on random images; the optimizer is the caller's."""

    def run(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.randint(10, (8,)))
            torch.autograd.backward(loss)
            optimizer.step()

    return run
