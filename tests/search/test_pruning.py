"""Pruning to an allocation: masks of single weights, and models that really have the channels that were planned."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import autoprune
from autoprune.compression.command.choosing import at_once
from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch import L1NormPruner, speedup
from autoprune.errors import UsageError
from autoprune.search.filters import FilterScaler
from autoprune.search.pruning import Data, check_pruner, kind_of, pruned
from autoprune.search.scaling import Budget
from autoprune.search.weights import WeightScaler
from tests.compression.compacting import assert_close, chain, conv, image, net, normal, run
from tests.compression.recount import parameters
from tests.compression.zoo import ZOO

SEARCHED = [name for name in at_once() if name not in ("slim", "nm")]


def small_net() -> Any:
    return chain(
        conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    )  # fmt: skip


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Used up once it has been read, as what a task gives may be."""
    yield from ((normal(4, 3, 8, 8) + number, torch.tensor([0, 1, 2, 3])) for number in range(3))


DATA = Data(batches, F.cross_entropy)


class Needy(autoprune.Task):
    def build(self) -> nn.Module:
        return small_net()

    def train(self, model: nn.Module, epochs: int) -> None:
        raise NotImplementedError

    def evaluate(self, model: nn.Module) -> float:
        raise NotImplementedError

    def example_input(self) -> Tensor:
        return image()


class Giving(Needy):
    def calibration_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return batches()


@pytest.mark.parametrize("name", [name for name in SEARCHED if kind_of(name) == "filters"])
def test_every_pruner_of_filters_removes_what_was_planned(name: str) -> None:
    model = small_net()
    scaler = FilterScaler(model, image(), Budget("parameters", 0.5), "layer")
    layers = scaler.scaled({"0": 0.2, "3": 0.4})
    small = pruned(model, name, layers, image(), DATA)
    assert parameters(small) == scaler.left(layers)
    for layer, sparsity in layers.items():
        before, after = (each.get_submodule(layer).out_channels for each in (model, small))
        assert after == before - pruned_count(before, sparsity)


@pytest.mark.parametrize("name", [name for name in SEARCHED if kind_of(name) == "weights"])
def test_every_pruner_of_weights_masks_what_was_planned(name: str) -> None:
    """Each of the whole layer, so that the total is exact: also one that else goes row by row."""
    model = small_net()
    scaler = WeightScaler(model, Budget("sparsity", 0.55), "layer")
    layers = scaler.scaled({group.name: 0.2 + 0.1 * number for number, group in enumerate(scaler.groups)})
    assert pruned(model, name, layers, image(), DATA) is model
    for layer, sparsity in layers.items():
        weight = model.get_submodule(layer).weight
        assert int((weight == 0).sum()) == pruned_count(weight.numel(), sparsity)


def test_it_is_the_pruner_coupled_and_cut() -> None:
    """As when one does it by hand."""
    model, example = ZOO["resnet18"].build().eval(), ZOO["resnet18"].example()
    same = copy.deepcopy(model)
    scaler = FilterScaler(model, example, None, "layer")
    layers = scaler.scaled(dict.fromkeys((group.name for group in scaler.groups), 0.5))
    small = pruned(model, "l1", layers, example)
    entries = [{"sparsity": 0.5, "op_names": list(layers)}]
    L1NormPruner(same, entries, mode="dependency_aware", dummy_input=example).compress()
    assert_close(run(speedup(same, None, example), example), run(small, example))


def test_where_nothing_goes_the_model_comes_back_as_it_is() -> None:
    for name in ("l1", "level"):
        model = small_net()
        before = copy.deepcopy(model.state_dict())
        assert pruned(model, name, {"0": 0.0, "3": 0.0}, image()) is model
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert pruned(small_net(), "l1", {"0": 0.1, "3": 0.0}, image())[0].out_channels == 8


def test_of_some_layers_alone() -> None:
    small = pruned(small_net(), "l1", {"3": 0.5}, image())
    assert (small[0].out_channels, small[3].out_channels) == (8, 3)


def test_channels_that_have_to_stay_are_not_pruned_even_where_they_are_the_smallest() -> None:
    """The first four are an output of the model."""

    def forward(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(model.a(x))
        return features[:, :4], model.head(features[:, 4:].mean((2, 3)))

    model = net(forward, a=conv(3, 12), head=nn.Linear(8, 5))
    model.a.weight.data[:4] *= 1e-3
    whole, _ = run(model, image())
    small = pruned(model, "l1", {"a": 0.5}, image())
    assert small.a.out_channels == 4 + 4
    assert small.head.in_features == 4
    assert_close([whole], run(small, image())[:1])


def test_a_depthwise_convolution_needs_the_sparsity_of_what_it_goes_with() -> None:
    model, example = ZOO["mobilenet_v2"].build().eval(), ZOO["mobilenet_v2"].example()
    together = {"features.2.conv.0.0": 0.5, "features.2.conv.1.0": 0.25}
    with pytest.raises(UsageError, match=r"lose their channels together \(features.2.conv.0.0: 0.5, features.2.conv"):
        pruned(model, "l1", together, example)
    with pytest.raises(UsageError, match=r"sparsities of classifier.2, of which no filter can go"):
        pruned(model, "l1", {"classifier.2": 0.5}, example)


def test_what_does_not_go_as_planned_is_an_error() -> None:
    """The forward takes four channels of one layer or more, as when half of them are removed to find out."""

    def forward(model: Any, x: Tensor) -> Tensor:
        features = F.relu(model.a(x))
        if features.shape[1] < 4:
            raise ValueError("so few channels")
        return model.c(F.relu(model.b(features)).mean((2, 3)))

    model = net(forward, a=conv(3, 8), b=conv(8, 6), c=nn.Linear(6, 5))
    assert pruned(copy.deepcopy(model), "l1", {"a": 0.5, "b": 0.5}, image()).a.out_channels == 4
    with pytest.raises(UsageError, match=r"a has 8 of 8 filters and not 2 \(6 masked channels stay.*so few channels"):
        pruned(model, "l1", {"a": 0.75, "b": 0.5}, image())


def test_kinds() -> None:
    assert {name: kind_of(name) for name in ("level", "wanda", "l1", "L2NormPruner", "apoz", "taylor")} == {
        "level": "weights",
        "wanda": "weights",
        "l1": "filters",
        "L2NormPruner": "filters",
        "apoz": "filters",
        "taylor": "filters",
    }


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ("agp", "given agp, which prunes while a model trains; expected one that prunes at once.*level"),
        ("admm", "given admm, which prunes while a model trains"),
        ("slim", "given slim, which prunes while a model trains"),
        ("nm", "given nm, which prunes to a pattern"),
        ("scores", "given scores, which prunes by scores that it is given"),
        ("taylor", "given taylor, which looks at data; expected a task with calibration_batches"),
        ("levle", r"search.pruners: given 'levle'; expected a pruner's name \(did you mean level\?\)"),
    ],
)
def test_pruners_that_do_not_fit_a_search(pruner: str, message: str) -> None:
    for call in (partial(check_pruner, pruner, None), partial(pruned, small_net(), pruner, {"0": 0.5}, image())):
        with pytest.raises(UsageError, match=message):
            call()


def test_what_a_task_offers() -> None:
    assert Data.of(Needy()) is None
    data = Data.of(Giving())
    assert data is not None
    assert [len(list(data)), len(list(data))] == [3, 3]
    outputs, target = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    assert torch.equal(data.loss(outputs, target), F.cross_entropy(outputs, target))


def test_a_loss_of_the_task_itself_scores() -> None:
    """One that looks at the first output alone: the channel that it reads is what stays."""
    model = chain(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[2].weight.data[:] = torch.tensor([[0.0, 0.0, 1.0, 0.0], [5.0, 5.0, 0.0, 5.0]])
    model[0].bias.data[:] = 10.0
    points = [(torch.rand(8, 3), torch.zeros(8))]
    kept = model[0].weight[2:3].clone()
    small = pruned(model, "taylor", {"0": 0.75}, points[0][0], Data(lambda: points, lambda out, _: out[:, 0].sum()))
    assert torch.equal(small[0].weight, kept)
