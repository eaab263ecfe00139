"""LeNet-300-100 on Fashion-MNIST: three linear layers, 266,200 weights."""

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
from nets import LeNet300


class Task(autoprune.Task):
    """Trains on the first `images` of the training images; `data: digits` needs no data set."""

    def __init__(self, images: int = 12_000, data: str = "fashion-mnist", prepare_epochs: int = 10) -> None:
        self.images, self.data, self.prepare_epochs = images, data, prepare_epochs

    def build(self) -> nn.Module:
        return LeNet300()

    def prepare(self, model: nn.Module) -> None:
        fit(model, self._training(), self.prepare_epochs, 0.003)

    def train(self, model: nn.Module, epochs: int) -> None:
        fit(model, self._training(), epochs, 0.002)

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
