"""How the tasks of the searches train, and how they are judged."""

from __future__ import annotations

import torch
from data import Part
from torch import nn
from torch.nn.functional import cross_entropy

BATCH = 128


def fit(model: nn.Module, part: Part, epochs: int, learning_rate: float) -> None:
    """Adam; the learning rate rises to what is given and falls to nothing (OneCycle)."""
    images, labels = part
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = epochs * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, part: Part) -> float:
    """In percent."""
    images, labels = part
    model.eval()
    batches = zip(images.split(1000), labels.split(1000), strict=True)
    right = sum(int((model(some).argmax(1) == true).sum()) for some, true in batches)
    return 100 * right / len(labels)
