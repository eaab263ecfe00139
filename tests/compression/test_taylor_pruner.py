"""Taylor: gradients by autograd, local and global ranking."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.torch import (
    TaylorFOWeightPruner,
)
from autoprune.errors import UsageError
from tests.compression.loops import dropped, images


def conv_of(values: list[float], inputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, len(values), 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values).view(-1, 1, 1, 1).expand_as(layer.weight))
    return layer


class Parallel(nn.Module):
    """Two convolutions side by side whose gradients are all ones: the loss is the sum of their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv_of([0.0, 1.0, 2.0, 3.0, 4.0], 1)
        self.conv2 = conv_of([10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 5)

    def forward(self, _: Tensor) -> Tensor:
        return self.conv1.weight.sum() + self.conv2.weight.sum()


def taylor(model: nn.Module, entries: list[dict[str, Any]], **more: Any) -> dict[str, dict[str, Tensor]]:
    data = [(torch.zeros(1), torch.zeros(1))]
    pruner = TaylorFOWeightPruner(model, entries, batches=data, loss=lambda output, target: output, **more)
    masks: dict[str, dict[str, Tensor]] = pruner.compress()[1]
    return masks


def test_local_and_global_sort() -> None:
    entries = [{"sparsity": 0.2, "op_names": ["conv1"]}, {"sparsity": 0.6, "op_names": ["conv2"]}]
    local = taylor(Parallel(), entries)
    assert dropped(local["conv1"]["weight"]) == [0]
    assert dropped(local["conv2"]["weight"]) == [4, 5, 6, 7, 8, 9]
    for pooled in (
        {"total_sparsity": 0.4},
        {"sparsity": 0.4, "allocation": "global"},
        {"sparsity": 0.4, "mode": "global"},
    ):
        together = taylor(Parallel(), [{**pooled, "op_types": ["Conv2d"]}])
        assert dropped(together["conv1"]["weight"]) == [0, 1, 2, 3]
        assert dropped(together["conv2"]["weight"]) == [7, 8, 9]


def by_autograd(model: nn.Module, data: list[tuple[Tensor, Tensor]], weight: Tensor) -> Tensor:
    total = torch.zeros_like(weight)
    for inputs, target in data:
        gradient = torch.autograd.grad(F.cross_entropy(model(inputs), target), weight)[0]
        total += (gradient * weight.detach()) ** 2
    return total


@pytest.mark.parametrize("count", [1, 3])
def test_taylor_equals_autograd(net: Any, count: int) -> None:
    data = images(count)
    expected = {name: by_autograd(net, data, getattr(net, name).weight) for name in ("conv1", "fc", "bn")}
    entries = [{"sparsity": 0.5, "op_names": list(expected), "op_types": ["Conv2d", "Linear", "BatchNorm2d"]}]
    pruner = TaylorFOWeightPruner(net, entries, batches=data, loss=F.cross_entropy)
    before = copy.deepcopy(net.state_dict())
    pruner.compress()
    kept = {name: net.state_dict()[f"{name}.weight"] != 0 for name in expected}
    for name, value in expected.items():
        units = value.flatten(1).sum(1) if value.dim() > 1 else value
        order = np.argsort(units.numpy(), kind="stable")
        assert dropped(kept[name]) == sorted(order[: len(order) // 2].tolist())
    assert torch.equal(net.state_dict()["bn.running_mean"], before["bn.running_mean"])


def test_taylor_of_single_weights(net: Any) -> None:
    data = images(2)
    expected = by_autograd(net, data, net.fc.weight).flatten().numpy()
    entries = [{"sparsity": 0.25, "op_names": ["fc"], "granularity": "element"}]
    keep = TaylorFOWeightPruner(net, entries, batches=data, loss=F.cross_entropy).compress()[1]["fc"]["weight"]
    assert expected[~keep.flatten().numpy()].max() <= expected[keep.flatten().numpy()].min() * (1 + 1e-4)
    assert int((~keep).sum()) == 240


def test_taylor_needs_a_gradient_of_each_layer(net: Any) -> None:
    net.conv1.requires_grad_(False)
    pruner = TaylorFOWeightPruner(net, [{"sparsity": 0.5}], batches=images(1), loss=F.cross_entropy)
    with pytest.raises(UsageError, match=r"gives no gradient to the layers 'conv1'"):
        pruner.compress()
    with pytest.raises(UsageError, match="TaylorFOWeightPruner: given batches without a loss"):
        TaylorFOWeightPruner(net, [{"sparsity": 0.5}], batches=images(1))


def test_taylor_of_an_embedding_with_sparse_gradients() -> None:
    model = nn.Sequential(nn.Embedding(6, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2))
    data = [(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1]))]
    entries = [{"sparsity": 0.5, "op_types": ["Embedding"]}]
    _, masks = TaylorFOWeightPruner(model, entries, batches=data, loss=F.cross_entropy).compress()
    assert dropped(masks["0"]["weight"]) == [3, 4, 5]
