"""A small convolutional network on scikit-learn's digits: all that a search has to know of it.

Replace the network and the data by yours. The search prunes the network in many ways within the budget of config.yml,
trains each result with `train`, judges it by `evaluate`, and keeps the best.
"""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d

import autoprune

TRAINING, VALIDATION, TEST = slice(0, 1000), slice(1000, 1400), slice(1400, None)
DENSE_EPOCHS = 10


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 8 x 8 pixels, and which digit each of them is, shuffled."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return torch.tensor(images / 16).float().view(-1, 1, 8, 8)[order], torch.tensor(labels)[order]


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width)
        self.conv3, self.norm3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width)
        self.classify = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        x = max_pool2d(self.norm2(self.conv2(x)).relu(), 2)
        return self.classify(self.norm3(self.conv3(x)).relu().mean((2, 3)))


class Task(autoprune.Task):
    """`taskArguments` of config.yml are the arguments of `__init__`: `taskArguments: {width: 32}`."""

    def __init__(self, width: int = 8) -> None:
        self.width = width

    def build(self) -> nn.Module:
        """The network. It is called for every trial, and gets its weights afterwards."""
        return Net(self.width)

    def prepare(self, model: nn.Module) -> None:
        """Once: train the dense network. Load your weights here if you have trained it already."""
        self._train(model, DENSE_EPOCHS, 0.01)

    def train(self, model: nn.Module, epochs: int) -> None:
        """In every trial: train on after pruning. What is pruned stays pruned."""
        self._train(model, epochs, 0.005)

    def evaluate(self, model: nn.Module) -> float:
        """What the search makes as high as it can: accuracy on images that it does not train on."""
        return accuracy(model, VALIDATION)

    def test(self, model: nn.Module) -> float:
        """Accuracy on images that nothing else sees, for a few models at the very end."""
        return accuracy(model, TEST)

    def example_input(self) -> Tensor:
        """One image, whatever is in it."""
        return torch.zeros(1, 1, 8, 8)

    def calibration_batches(self) -> list[tuple[Tensor, Tensor]]:
        """A few training batches: for BatchNorm after pruning, and for what looks at gradients."""
        images, labels = digits()
        return list(zip(images[TRAINING].split(100), labels[TRAINING].split(100), strict=True))

    def _train(self, model: nn.Module, epochs: int, highest: float) -> None:
        images, labels = (each[TRAINING] for each in digits())
        batches = -(-len(labels) // 64)
        optimizer = torch.optim.Adam(model.parameters(), lr=highest)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=epochs * batches)
        model.train()
        for _ in range(epochs):
            for batch in torch.randperm(len(labels)).split(64):
                optimizer.zero_grad()
                cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
                schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, part: slice) -> float:
    """In percent."""
    images, labels = (each[part] for each in digits())
    model.eval()
    return 100 * (model(images).argmax(1) == labels).float().mean().item()
