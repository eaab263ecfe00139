"""Wanda: weights times input norms, by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.torch import (
    WandaPruner,
)


@given(st.integers(1, 6), st.integers(1, 7), st.floats(0, 0.99), st.integers(0, 99))
def test_wanda_compares_within_each_row(rows: int, columns: int, sparsity: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = nn.Linear(columns, rows)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.normal(size=(rows, columns))))
    data = [rng.normal(size=(size, columns)).astype(np.float32) for size in (3, 5)]
    norm = np.linalg.norm(np.concatenate(data).astype(np.float64), axis=0)
    score = np.abs(layer.weight.detach().numpy()) * norm.astype(np.float32)
    pruner = WandaPruner(
        nn.Sequential(layer), [{"sparsity": sparsity}], batches=[torch.from_numpy(each) for each in data]
    )
    keep = pruner.compress()[1]["0"]["weight"].numpy()
    k = int(np.floor(columns * sparsity + 1e-9))
    for row in range(rows):
        assert (~keep[row]).sum() == k
        if k > 0:
            assert score[row][~keep[row]].max() <= score[row][keep[row]].min() * (1 + 1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_wanda_of_convolutions_takes_the_norm_of_each_input_channel(groups: int) -> None:
    layer = nn.Conv2d(4, 8, 3, groups=groups)
    data = [torch.randn(2, 4, 6, 6) * torch.tensor([1.0, 9.0, 0.1, 3.0]).view(1, 4, 1, 1) for _ in range(2)]
    norms = np.sqrt(sum((each.double().numpy() ** 2).sum(axis=(0, 2, 3)) for each in data))
    weight = layer.weight.detach().double().numpy()
    score = np.empty_like(weight)
    for out in range(8):
        for given_ in range(4 // groups):
            score[out, given_] = np.abs(weight[out, given_]) * norms[out // (8 // groups) * (4 // groups) + given_]
    pruner = WandaPruner(nn.Sequential(layer), [{"sparsity": 0.5}], batches=data)
    keep = pruner.compress()[1]["0"]["weight"].numpy().reshape(8, -1)
    flat = score.reshape(8, -1)
    for row in range(8):
        assert (~keep[row]).sum() == flat.shape[1] // 2
        assert flat[row][~keep[row]].max() <= flat[row][keep[row]].min() * (1 + 1e-5)


def test_wanda_in_the_pattern_two_of_four() -> None:
    layer = nn.Linear(8, 3)
    inputs = torch.randn(16, 8) * torch.arange(1.0, 9.0)
    score = (layer.weight.detach().abs() * inputs.norm(dim=0)).view(3, 2, 4)
    pruner = WandaPruner(nn.Sequential(layer), [{"granularity": "2:4"}], batches=[inputs])
    keep = pruner.compress()[1]["0"]["weight"].view(3, 2, 4)
    assert torch.equal(keep.sum(2), torch.full((3, 2), 2))
    assert bool((score.masked_fill(keep, 0).amax(2) <= score.masked_fill(~keep, 9e9).amin(2)).all())


def test_wanda_watches_what_goes_in_by_keyword_too() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 1)

        def forward(self, value: Tensor) -> Tensor:
            out: Tensor = self.fc(input=value)
            return out

    model = Named()
    with torch.no_grad():
        model.fc.weight.fill_(1.0)
    _, masks = WandaPruner(model, [{"sparsity": 0.5}], batches=[torch.tensor([[5.0, 1.0]])]).compress()
    assert masks["fc"]["weight"].tolist() == [[True, False]]
