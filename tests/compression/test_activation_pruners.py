"""APoZ and mean activation: by hand, and where the activation is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.torch import (
    ActivationAPoZRankPruner,
    ActivationMeanRankPruner,
)
from tests.compression.loops import dropped, images, scores


def identity(size: int) -> nn.Linear:
    layer = nn.Linear(size, size, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(size))
    return layer


def test_zeros_are_counted_over_batches_of_unequal_size() -> None:
    """Channel 0 is zero in 1 of 5 examples and channel 1 in 2 of 5; an average of two batches would say 1/2 and 1/4."""
    first = torch.tensor([[-1.0, 1.0]])
    second = torch.tensor([[1.0, -1.0], [2.0, 0.0], [3.0, 1.0], [4.0, 1.0]])
    pruner = ActivationAPoZRankPruner(nn.Sequential(identity(2)), [{"sparsity": 0.5}], batches=[first, second])
    _, masks = pruner.compress()
    assert dropped(masks["0"]["weight"]) == [1]
    assert torch.allclose(scores(pruner)["0"], torch.tensor([0.8, 0.6], dtype=torch.float64))


def test_the_most_silent_channels_of_a_convolution_go(net: Any) -> None:
    data = images(3)
    pruner = ActivationAPoZRankPruner(net, [{"sparsity": 0.5, "op_names": ["conv1"]}], batches=data)
    outputs = torch.cat([net.conv1(F.relu(net.bn.train()(net.conv0(inputs)))) for inputs, _ in data])
    zeros = (outputs.detach().numpy() <= 0).mean(axis=(0, 2, 3))
    net.bn.reset_running_stats()
    _, masks = pruner.compress()
    assert dropped(masks["conv1"]["weight"]) == sorted(np.argsort(-zeros, kind="stable")[:3].tolist())


def test_only_the_batches_asked_for_count() -> None:
    data = [torch.tensor([[1.0, -1.0]])] * 2 + [torch.tensor([[-1.0, 1.0]])] * 9
    for count, silent in ((2, 1), (11, 0)):
        model = nn.Sequential(identity(2))
        pruner = ActivationAPoZRankPruner(model, [{"sparsity": 0.5}], training_batches=count, batches=data)
        assert dropped(pruner.compress()[1]["0"]["weight"]) == [silent]


# Mean


def test_the_mean_over_examples_and_positions() -> None:
    """[[0, 1], [1, 0]] and a batch of zeros: a mean of 1/4, for weights of 1."""
    layer = nn.Conv2d(1, 3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.8, -2.0]).view(3, 1, 1, 1))
    data = [torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]), torch.zeros(1, 1, 2, 2)]
    pruner = ActivationMeanRankPruner(nn.Sequential(layer), [{"sparsity": 0.67, "op_types": ["Conv2d"]}], batches=data)
    _, masks = pruner.compress()
    assert dropped(masks["0"]["weight"]) == [1, 2]
    assert torch.allclose(scores(pruner)["0"], torch.tensor([0.25, 0.2, 0.0], dtype=torch.float64))


@pytest.mark.parametrize(("activation", "mean"), [("relu", 4.0), ("relu6", 3.0), ("gelu", 4.0)])
def test_the_activation_function_is_the_callers(activation: str, mean: float) -> None:
    data = [torch.tensor([[8.0], [0.0]])]
    pruner = ActivationMeanRankPruner(
        nn.Sequential(identity(1)), [{"sparsity": 0}], batches=data, activation=activation
    )
    pruner.compress()
    assert float(scores(pruner)["0"]) == pytest.approx(mean)


def test_the_activation_may_differ_by_entry() -> None:
    model = nn.Sequential(identity(1), identity(1))
    entries = [{"sparsity": 0, "op_names": ["0"], "activation": "relu6"}, {"sparsity": 0, "op_names": ["1"]}]
    pruner = ActivationMeanRankPruner(model, entries, batches=[torch.tensor([[8.0]])])
    pruner.compress()
    assert {name: float(value) for name, value in scores(pruner).items()} == {"0": 6.0, "1": 8.0}


def test_many_values_of_few_digits_are_summed_exactly() -> None:
    """A running sum of ones in bfloat16 ends at 256."""
    pruner = ActivationMeanRankPruner(
        nn.Sequential(identity(2)).bfloat16(), [{"sparsity": 0}], batches=[torch.full((3001, 2), 1.0).bfloat16()]
    )
    pruner.compress()
    assert scores(pruner)["0"].tolist() == [1.0, 1.0]


def test_an_activation_in_place_changes_nothing() -> None:
    model = nn.Sequential(identity(2), nn.ReLU(inplace=True))
    pruner = ActivationMeanRankPruner(model, [{"sparsity": 0}], batches=[torch.tensor([[-3.0, 2.0]])])
    pruner.compress()
    assert scores(pruner)["0"].tolist() == [0.0, 2.0]


# where the activation is taken


class Block(nn.Module):
    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.between = between
        self.bn = nn.BatchNorm2d(4)
        with torch.no_grad():
            self.bn.weight.copy_(torch.tensor([0.5, 2.0, 1.0, 3.0]))
            self.bn.bias.copy_(torch.tensor([1.0, -1.0, 0.5, -4.0]))

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = F.relu(self.bn(self.between(self.conv(image))))
        return out


def means(values: Tensor) -> list[float]:
    return F.relu(values).mean(dim=(0, 2, 3)).tolist()


@pytest.mark.parametrize("between", [nn.Identity(), nn.ReLU()])
def test_a_batch_norm_that_takes_the_very_output_comes_first(between: nn.Module) -> None:
    model = Block(between).eval()
    image = torch.randn(5, 1, 8, 8)
    entries = [{"sparsity": 0, "op_names": ["conv", "bn"], "op_types": ["Conv2d", "BatchNorm2d"]}]
    pruner = ActivationMeanRankPruner(model, entries, batches=[image])
    pruner.compress()
    with torch.no_grad():
        raw = model.conv(image)
        normed = model.bn(between(raw))
    found = scores(pruner)
    assert found["bn"].tolist() == pytest.approx(means(normed), abs=1e-6)
    assert found["conv"].tolist() == pytest.approx(means(normed if isinstance(between, nn.Identity) else raw), abs=1e-6)


def test_channels_of_a_batch_norm_lose_scale_and_shift() -> None:
    model = Block(nn.Identity())
    image = torch.randn(5, 1, 8, 8)
    pruner = ActivationMeanRankPruner(model, [{"sparsity": 0.5, "op_types": ["BatchNorm2d"]}], batches=[image])
    _, masks = pruner.compress()
    assert torch.equal(masks["bn"]["weight"], masks["bn"]["bias"])
    assert dropped(masks["bn"]["weight"]) == [1, 3]
    assert model.bn.bias.tolist() == [1.0, 0.0, 0.5, 0.0]


def test_a_layer_that_is_called_twice_adds_up() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = identity(2)
            self.two = identity(2)
            self.two.weight = self.one.weight

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            out: Tensor = self.one(left) + self.one(right) + self.two(2 * right)
            return out

    data = [((torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 3.0]])), None)]
    pruner = ActivationMeanRankPruner(Twice(), [{"sparsity": 0}], batches=data)
    pruner.compress()
    assert scores(pruner)["one"].tolist() == pytest.approx([(1 + 2 + 4) / 3, (0 + 3 + 6) / 3])


def test_channels_are_where_the_layer_has_them() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = identity(2)
            self.conv = nn.Conv1d(2, 3, 1)
            self.wide = nn.Conv2d(1, 2, 1)
            self.norm = nn.BatchNorm1d(3)

        def forward(self, tokens: Tensor) -> Tensor:
            hidden = self.fc(tokens)
            self.wide(hidden[0][None])
            out: Tensor = self.norm(self.conv(hidden.transpose(1, 2)))
            return out

    model = Sequence()
    entries = [{"sparsity": 0, "op_names": ["fc", "conv", "wide", "norm"]}]
    pruner = ActivationMeanRankPruner(model, entries, batches=[torch.randn(4, 5, 2)])
    pruner.compress()
    assert {name: len(value) for name, value in scores(pruner).items()} == {"fc": 2, "conv": 3, "wide": 2, "norm": 3}
