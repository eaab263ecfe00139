"""Recalibrated BatchNorms: the statistics are those of the formulas, and nothing else of the model moves."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import LevelPruner
from autoprune.compression.torch.recalibrating import recalibrate_batchnorm
from tests.compression.loops import images, rows, same


class Body(nn.Module):
    """A norm behind a layer and dropout; one of another kind; one that only training reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 4)
        self.drop = nn.Dropout(0.5)
        self.bn = nn.BatchNorm1d(4, momentum=0.3)
        self.plain = nn.BatchNorm1d(4, track_running_stats=False)
        self.auxiliary = nn.BatchNorm1d(4)
        self.instance = nn.InstanceNorm1d(4, track_running_stats=True)

    def forward(self, value: Tensor) -> Tensor:
        hidden: Tensor = self.plain(self.bn(self.drop(self.fc(value))))
        hidden = self.instance(hidden[..., None].expand(-1, -1, 3))
        return self.auxiliary(hidden) if self.training else hidden


def statistics(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.named_buffers(recurse=False)}


def by_hand(activations: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The average over batches of the mean and of the variance with n - 1 below, per channel."""
    columns = [each.transpose(0, 1).flatten(1).double() for each in activations]
    means = [each.sum(1) / each.shape[1] for each in columns]
    squares = [(each - mean[:, None]).square().sum(1) for each, mean in zip(columns, means, strict=True)]
    variances = [each / (column.shape[1] - 1) for each, column in zip(squares, columns, strict=True)]
    return sum(means, torch.zeros(())) / len(means), sum(variances, torch.zeros(())) / len(variances)


def assert_by_hand(layer: nn.BatchNorm1d | nn.BatchNorm2d, activations: list[Tensor]) -> None:
    mean, variance = by_hand(activations)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    torch.testing.assert_close(layer.running_mean.double(), mean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(layer.running_var.double(), variance, atol=1e-6, rtol=1e-5)
    assert layer.num_batches_tracked == len(activations)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_statistics_are_the_average_of_the_batches_with_dropout_off(count: int) -> None:
    model, data = Body().train(), rows(count)
    with torch.no_grad():
        expected = [model.fc(inputs) for inputs, _ in data]
    assert recalibrate_batchnorm(model, data) is model
    assert_by_hand(model.bn, expected)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(2, 9), min_size=1, max_size=5), start=st.floats(-100, 100), seed=st.integers(0, 99))
def test_batches_weigh_the_same_whatever_their_size_and_the_statistics_before(
    sizes: list[int], start: float, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.BatchNorm2d(3, momentum=0.01)
    assert layer.running_mean is not None
    assert layer.num_batches_tracked is not None
    layer.running_mean.fill_(start)
    layer.num_batches_tracked.fill_(7)
    data = [torch.randn(size, 3, 2, 2) * 3 + 1 for size in sizes]
    recalibrate_batchnorm(layer, data)
    assert_by_hand(layer, data)
    assert layer.momentum == 0.01


def test_layers_further_on_see_the_batch_normalised_as_in_training(net: Any) -> None:
    deep, data = nn.Sequential(net.conv0, net.bn, net.act, net.conv1, nn.BatchNorm2d(6)), images(3)
    with torch.no_grad():
        first = [net.conv0(inputs) for inputs, _ in data]
        normalised = [nn.functional.batch_norm(each, None, None, net.bn.weight, net.bn.bias, True) for each in first]
        second = [net.conv1(each.relu()) for each in normalised]
    recalibrate_batchnorm(deep, data)
    assert_by_hand(deep[1], first)
    assert_by_hand(deep[4], second)


def test_nothing_else_of_the_model_changes() -> None:
    model = Body()
    model(torch.randn(4, 5)).sum().backward()
    model.bn.eval()
    model.fc.weight.requires_grad_(False)
    before = copy.deepcopy(dict(model.state_dict()))
    gradients = [None if each.grad is None else each.grad.clone() for each in model.parameters()]
    modes = [module.training for module in model.modules()]
    trained = [each.requires_grad for each in model.parameters()]
    recalibrate_batchnorm(model, rows(2))
    after = dict(model.state_dict())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}
    assert same(
        [each.grad for each in model.parameters() if each.grad is not None], [g for g in gradients if g is not None]
    )
    assert [module.training for module in model.modules()] == modes
    assert [each.requires_grad for each in model.parameters()] == trained
    assert (model.bn.momentum, model.auxiliary.momentum) == (0.3, 0.1)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_masks_stay(net: Any) -> None:
    pruner = LevelPruner(net, [{"op_types": ["Conv2d"], "sparsity": 0.5}])
    pruner.compress()
    before = net.conv0.weight.clone()
    recalibrate_batchnorm(net, images(2))
    assert torch.equal(net.conv0.weight, before)
    assert (net.conv0.weight == 0).sum() == 18


def test_a_limit_takes_no_more_than_that_from_an_iterator() -> None:
    layer, data = nn.BatchNorm1d(5), rows(5)
    stream = iter(data)
    recalibrate_batchnorm(layer, stream, limit=2)
    assert_by_hand(layer, [inputs for inputs, _ in data[:2]])
    assert next(stream) is data[2]


@pytest.mark.parametrize(
    "batch",
    [
        torch.arange(8.0).view(4, 2),
        (torch.arange(8.0).view(4, 2), torch.zeros(4)),
        {"input": torch.arange(8.0).view(4, 2)},
    ],
    ids=["inputs", "pair", "keywords"],
)
def test_batches_come_in_every_form(batch: Any) -> None:
    layer = nn.BatchNorm1d(2)
    recalibrate_batchnorm(layer, [batch])
    assert_by_hand(layer, [torch.arange(8.0).view(4, 2)])


def broken() -> Iterator[Tensor]:
    yield torch.randn(4, 5)
    raise OSError("the disk is gone")


def used_up() -> Iterator[Tensor]:
    stream = iter([torch.randn(4, 5)])
    next(stream)
    return stream


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "given 0 batches; expected at least one"),
        (used_up(), "an iterator gives its batches once"),
        (torch.randn(4, 5), "given a Tensor as batches"),
        ([torch.randn(4, 5), torch.randn(1, 5)], r"one value per channel to layer 'bn', .*\(1, 4\)"),
        ([torch.randn(4, 5), torch.randn(0, 5)], r"one value per channel to layer 'bn', .*\(0, 4\)"),
        ([torch.full((4, 5), torch.nan)], "layer 'bn' infinite or NaN"),
        ([(torch.randn(4, 5), 1, 2)], "given a tuple of 3 as batch 0"),
    ],
)
def test_batches_that_cannot_be_used_leave_the_statistics(batches: Any, said: str) -> None:
    model = Body()
    before = copy.deepcopy(dict(model.state_dict()))
    with pytest.raises(CompressionError, match=said) as caught:
        recalibrate_batchnorm(model, batches)
    assert str(caught.value).startswith("recalibrate_batchnorm")
    assert same(before, dict(model.state_dict()))
    assert model.training
    assert model.bn.momentum == 0.3


def test_data_that_fails_half_way_leaves_the_statistics() -> None:
    model = Body()
    before = copy.deepcopy(dict(model.state_dict()))
    with pytest.raises(OSError, match="the disk is gone"):
        recalibrate_batchnorm(model, broken())
    assert same(before, dict(model.state_dict()))
    assert model.bn.momentum == 0.3


@pytest.mark.parametrize("model", [nn.Linear(5, 3), nn.BatchNorm1d(5, track_running_stats=False)])
def test_a_model_without_statistics_is_refused(model: nn.Module) -> None:
    with pytest.raises(CompressionError, match="without a BatchNorm that has running statistics"):
        recalibrate_batchnorm(model, rows(1))


def test_a_model_that_reaches_no_norm_is_refused() -> None:
    model = nn.Linear(5, 3)
    model.register_module("norm", nn.BatchNorm1d(3))
    with pytest.raises(CompressionError, match="calls none of its 1 BatchNorms"):
        recalibrate_batchnorm(model, rows(1))


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_that_is_no_number_of_batches_is_refused(limit: Any) -> None:
    with pytest.raises(CompressionError, match="expected a number of batches"):
        recalibrate_batchnorm(nn.BatchNorm1d(5), rows(1), limit=limit)


def test_a_shared_norm_counts_every_call() -> None:
    norm = nn.BatchNorm1d(5)
    data = torch.randn(6, 5)
    recalibrate_batchnorm(nn.Sequential(norm, nn.Hardtanh(-0.5, 0.5), norm), [data])
    with torch.no_grad():
        middle = nn.functional.batch_norm(data, None, None, training=True).clamp(-0.5, 0.5)
    assert_by_hand(norm, [data, middle])
