"""A small residual network on Fashion-MNIST: 9 convolutions and a classifier, 43,500 weights."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

import autoprune

sys.path.append(str(Path(__file__).resolve().parent.parent / "fashion-mnist"))
from data import Part, load
from fitting import accuracy, fit


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        straight = stride == 1 and inputs == width
        self.shortcut = nn.Identity() if straight else nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


class ResNet8(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.stage1 = Block(width, width, 1)
        self.stage2 = Block(width, 2 * width, 2)
        self.stage3 = Block(2 * width, 4 * width, 2)
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x)).relu()
        return self.fc(self.stage3(self.stage2(self.stage1(x))).mean((2, 3)))


class Task(autoprune.Task):
    """Trains on the first `images` of the training images. `width` is the first stage's; `data: digits` needs no data
    set."""

    def __init__(
        self, images: int = 12_000, width: int = 12, data: str = "fashion-mnist", prepare_epochs: int = 10
    ) -> None:
        self.images, self.width, self.data, self.prepare_epochs = images, width, data, prepare_epochs

    def build(self) -> nn.Module:
        return ResNet8(self.width)

    def prepare(self, model: nn.Module) -> None:
        fit(model, self._training(), self.prepare_epochs, 0.01)

    def train(self, model: nn.Module, epochs: int) -> None:
        fit(model, self._training(), epochs, 0.005)

    def evaluate(self, model: nn.Module) -> float:
        return accuracy(model, load("validation", self.data))

    def test(self, model: nn.Module) -> float:
        return accuracy(model, load("test", self.data))

    def example_input(self) -> Tensor:
        return torch.zeros(1, 1, 28, 28)

    def calibration_batches(self) -> Iterable[Part]:
        images, labels = self._training()
        return zip(images[:2048].split(256), labels[:2048].split(256), strict=True)

    def _training(self) -> Part:
        images, labels = load("train", self.data)
        return images[: self.images], labels[: self.images]
