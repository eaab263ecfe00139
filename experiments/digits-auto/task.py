"""A small convolutional network on scikit-learn's digits: all that a search has to know of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import autoprune

PARTS = {"train": (0, 1077), "validation": (1077, 1437), "test": (1437, 1797)}


def load(part: str) -> tuple[Tensor, Tensor]:
    """Images of 8 by 8 and their labels; the same 1,077 train each time, and the other parts have 360 each."""
    digits, (first, last) = load_digits(), PARTS[part]
    chosen = np.random.default_rng(0).permutation(len(digits.target))[first:last]
    images = torch.tensor(digits.images[chosen], dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.tensor(digits.target[chosen])


class Task(autoprune.Task):
    def __init__(self, prepare_epochs: int = 15) -> None:
        self.prepare_epochs = prepare_epochs

    def build(self) -> nn.Module:
        """Three convolutions, 16, 32 and 64 filters, 23,824 weights with those of the last layer."""
        return nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, 2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, 2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
        )

    def prepare(self, model: nn.Module) -> None:
        self._fit(model, self.prepare_epochs, 0.01)

    def train(self, model: nn.Module, epochs: int) -> None:
        self._fit(model, epochs, 0.005)

    def evaluate(self, model: nn.Module) -> float:
        return self._accuracy(model, "validation")

    def test(self, model: nn.Module) -> float:
        return self._accuracy(model, "test")

    def example_input(self) -> Tensor:
        return torch.zeros(1, 1, 8, 8)

    def calibration_batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        images, labels = load("train")
        return zip(images.split(128), labels.split(128), strict=True)

    def _fit(self, model: nn.Module, epochs: int, learning_rate: float) -> None:
        images, labels = load("train")
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        model.train()
        for _ in range(epochs):
            for batch in torch.randperm(len(labels)).split(64):
                optimizer.zero_grad()
                cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()

    @torch.no_grad()
    def _accuracy(self, model: nn.Module, part: str) -> float:
        """In percent."""
        images, labels = load(part)
        model.eval()
        return 100 * (model(images).argmax(1) == labels).float().mean().item()
