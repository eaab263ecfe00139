"""Tasks that take milliseconds: four classes of points, or of small images, that a tiny network can tell apart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import autoprune

CLASSES = 4


def points(seed: int, count: int = 256) -> tuple[Tensor, Tensor]:
    """Noisy copies of a few fixed patterns, and which."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return patterns[labels] + 2 * torch.randn(count, 64, generator=generator), labels


class Untested(autoprune.Task):
    """A perceptron. `log` is a file that gets a line for each call of train; at the call that makes `dies` of them,
    the process is killed, once."""

    def __init__(self, log: str | None = None, dies: int | None = None) -> None:
        self.log = None if log is None else Path(log)
        self.dies = dies

    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, CLASSES)
        )

    def prepare(self, model: nn.Module) -> None:
        fit(model, *self.data(1), epochs=5)

    def train(self, model: nn.Module, epochs: int) -> None:
        self._count(epochs)
        fit(model, *self.data(1), epochs=epochs)

    def evaluate(self, model: nn.Module) -> float:
        return accuracy(model, *self.data(2))

    def example_input(self) -> Tensor:
        return self.data(3)[0][:1]

    def calibration_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, labels = self.data(1)
        yield from zip(inputs.split(32), labels.split(32), strict=True)

    def data(self, seed: int) -> tuple[Tensor, Tensor]:
        return points(seed)

    def _count(self, epochs: int) -> None:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{epochs}\n")
            if len(self.log.read_text().splitlines()) == self.dies:
                os.kill(os.getpid(), signal.SIGKILL)


class Points(Untested):
    """The same, with a test."""

    def test(self, model: nn.Module) -> float:
        return accuracy(model, *self.data(4))


class Images(Points):
    """A small convolutional network with BatchNorm and a shortcut, on the same patterns as images."""

    def build(self) -> nn.Module:
        return Net().to(memory_format=torch.channels_last)

    def data(self, seed: int) -> tuple[Tensor, Tensor]:
        inputs, labels = points(seed)
        return inputs.view(-1, 1, 8, 8), labels


class Wide(Images):
    """A network whose filters take most of its time."""

    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 128, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(128, 64, 3, 1, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES),
        )  # fmt: skip

    def prepare(self, model: nn.Module) -> None:
        """Untrained weights do as well."""

    def train(self, model: nn.Module, epochs: int) -> None:
        self._count(epochs)


class Waiting(Points):
    """Its test does not end before there is a file `gate`."""

    def __init__(self, gate: str) -> None:
        super().__init__()
        self.gate = Path(gate)

    def test(self, model: nn.Module) -> float:
        while not self.gate.exists():
            time.sleep(0.05)
        return super().test(model)


class Failing(Points):
    def train(self, model: nn.Module, epochs: int) -> None:
        raise ValueError("out of luck")


class Still(Points):
    """Learns nothing: no optimizer takes a step."""

    def train(self, model: nn.Module, epochs: int) -> None:
        self._count(epochs)


class Diverging(Points):
    """Fails to learn: what it reports is no number."""

    def evaluate(self, model: nn.Module) -> float:
        return float("nan") if model.training else super().evaluate(model)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 12, 3, 2, 1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = (x + self.bn2(self.conv2(x))).relu()
        return self.fc(self.conv3(x).relu().mean((2, 3)))


def fit(model: nn.Module, inputs: Tensor, labels: Tensor, epochs: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """In percent."""
    model.eval()
    return 100 * (model(inputs).argmax(1) == labels).float().mean().item()
