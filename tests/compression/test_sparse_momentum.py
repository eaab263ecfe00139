"""How sparse momentum shares out what grows, what a network learns by it, and which rules there are."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from autoprune.compression.torch import SparsePruner
from autoprune.compression.torch.sparse_momentum import divide
from autoprune.errors import UsageError


@pytest.mark.parametrize(
    ("total", "shares", "zeros", "expected"),
    [
        (10, [1.0, 1.0], [100, 100], [5, 5]),
        (10, [3.0, 1.0], [100, 100], [8, 2]),
        (100, [9.0, 1.0], [50, 1000], [49, 51]),
        (100, [9.0, 0.0, 1.0], [50, 1000, 1000], [49, 0, 51]),
        (100, [1.0, 0.0], [50, 1000], [49, 51]),
        (100, [1.0, 0.0], [50, 50], [50, 50]),
        (98, [1.0, 0.0], [50, 50], [49, 49]),
        (99, [1.0, 0.0], [50, 50], [50, 49]),
        (12, [0.0, 0.0], [400, 200], [8, 4]),
        (0, [1.0, 2.0], [5, 5], [0, 0]),
        (4, [1.0, 2.0, 1.0], [0, 10, 10], [0, 3, 1]),
    ],
)
def test_shares_in_whole_weights(total: int, shares: list[float], zeros: list[int], expected: list[int]) -> None:
    assert divide(total, shares, zeros) == expected


LAYERS = st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 10**7)), min_size=1, max_size=8)


@given(LAYERS, st.floats(0, 1))
def test_nothing_is_lost_and_no_layer_overflows(layers: list[tuple[float, int]], part: float) -> None:
    shares, zeros = [share for share, _ in layers], [places for _, places in layers]
    total = int(part * sum(zeros))
    counts = divide(total, shares, zeros)
    assert sum(counts) == total
    assert all(0 <= count <= places for count, places in zip(counts, zeros, strict=True))
    caps = [math.floor(places * 0.99 + 1e-9) for places in zeros]
    if total <= sum(caps):
        assert all(count <= cap for count, cap in zip(counts, caps, strict=True))


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6), st.integers(0, 900))
def test_a_larger_share_never_gets_fewer(shares: list[float], total: int) -> None:
    counts = divide(total, shares, [1000] * len(shares))
    for share, count in zip(shares, counts, strict=True):
        assert abs(count - total * share / sum(shares)) < 1
        assert all(count + 1 >= other for least, other in zip(shares, counts, strict=True) if least <= share)


def learn_digits(density: float, *, move: bool) -> tuple[list[float], float]:
    """The loss of ten epochs, and the accuracy on 397 digits that were not trained on."""
    torch.manual_seed(0)
    data, target = load_digits(return_X_y=True)
    images, labels = torch.tensor(data / 16, dtype=torch.float32), torch.tensor(target)
    training, test = torch.randperm(len(labels)).split(1400)
    model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pruner = SparsePruner(model, [{"density": density}], optimizer, epochs=10)
    pruner.compress()
    size, losses = round(density * 50200), []
    for epoch in range(10):
        losses.append(0.0)
        for batch in training[torch.randperm(1400)].split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            torch.autograd.backward(loss)
            optimizer.step()
            losses[-1] += loss.item()
        if move:
            pruner.update_epoch(epoch + 1)
        assert sum(int(layer["weight"].sum()) for layer in pruner.masks.values()) == size
        assert sum(int((layer.weight != 0).sum()) for layer in model if isinstance(layer, nn.Linear)) <= size
    with torch.no_grad():
        return losses, float((model(images[test]).argmax(1) == labels[test]).float().mean())


def test_a_tenth_of_the_weights_learns_digits() -> None:
    losses, accuracy = learn_digits(0.1, move=True)
    assert losses[-1] < losses[0] / 4
    assert accuracy > 0.9


def test_weights_that_move_learn_more_than_weights_that_stay() -> None:
    moving, staying = learn_digits(0.05, move=True), learn_digits(0.05, move=False)
    assert moving[0][-1] < staying[0][-1] / 2
    assert moving[1] > staying[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prune_rate": 1.0}, "prune_rate: given 1.0"),
        ({"prune_rate": -0.1}, "up to but not 1"),
        ({"epochs": 0}, "1 or more"),
        ({"growth": "momentun"}, "did you mean momentum?"),
        ({"redistribution": "nonzeros"}, "did you mean nonzero?"),
        ({"prune_mode": "set_"}, "given 'set_'"),
        ({"threshold": -1}, "0 or more"),
    ],
)
def test_settings_that_cannot_be(net: nn.Module, changes: dict[str, Any], said: str) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(UsageError) as caught:
        SparsePruner(net, [{"density": 0.5}], optimizer, **changes)
    assert said in str(caught.value)
