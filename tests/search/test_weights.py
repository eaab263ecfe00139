"""Budgets of single weights: exact to one element, however they are proposed."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import nn

from autoprune.compression.core.formulas import pruned_count
from autoprune.compression.torch import LevelPruner
from autoprune.errors import UsageError
from autoprune.search.pruning import pruned
from autoprune.search.scaling import Budget
from autoprune.search.weights import WeightScaler
from tests.compression.compacting import chain
from tests.compression.zoo import ZOO


def nonzeros(model: nn.Module) -> int:
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def without_zeros(name: str) -> nn.Module:
    model = ZOO[name].build()
    for parameter in model.parameters():
        parameter.data[parameter == 0] = 0.5
    return model


@pytest.mark.parametrize("kind", ["sparsity", "parameters"])
@pytest.mark.parametrize("name", ZOO)
def test_two_hundred_allocations_are_exact_to_one_element(name: str, kind: str) -> None:
    """Two hundred for both kinds of budget together."""
    model, draw = without_zeros(name), random.Random(kind)
    groups = WeightScaler(model, None, "layer").groups
    total, dense = sum(group.size for group in groups), nonzeros(model)
    for share in (draw.uniform(0.05, 0.95) for _ in range(5)):
        gone, budget = math.ceil(total * share), Budget("sparsity", share)
        if kind == "parameters":
            budget = Budget("parameters", float(dense - gone))
        scaler = WeightScaler(model, budget, "layer")
        for _ in range(20):
            layers = scaler.scaled({group.name: draw.uniform(0, 0.99) for group in groups})
            counts = {group.name: pruned_count(group.size, layers[group.name]) for group in groups}
            assert sum(counts.values()) == gone
            assert scaler.left(layers) == (total if kind == "sparsity" else dense) - gone
            assert all(counts[group.name] < group.size for group in groups)


@pytest.mark.parametrize("name", ["vgg", "resnet18", "vit", "tied_embedding"])
def test_the_masked_model_has_what_the_budget_says(name: str) -> None:
    model = without_zeros(name)
    scaler = WeightScaler(model, Budget("parameters", 0.3), "layer")
    draw = random.Random(1)
    layers = scaler.scaled({group.name: draw.uniform(0, 0.99) for group in scaler.groups})
    pruned(model, "level", layers, ZOO[name].example())
    assert nonzeros(model) == scaler.left(layers) == scaler.described()["limit"]


def test_a_layer_that_shares_its_weight_counts_once() -> None:
    assert [group.name for group in WeightScaler(ZOO["tied_embedding"].build(), None, "layer").groups] == [
        "embed",
        "fc1",
        "fc2",
    ]


def test_what_was_scaled_is_scaled_to_itself() -> None:
    scaler = WeightScaler(ZOO["vgg"].build(), Budget("sparsity", 0.9), "layer")
    draw = random.Random(2)
    for _ in range(20):
        layers = scaler.scaled({group.name: draw.uniform(0, 0.99) for group in scaler.groups})
        assert scaler.scaled(scaler.of_groups(layers)) == layers


def test_without_a_budget_they_are_as_given_in_whole_weights() -> None:
    scaler = WeightScaler(chain(nn.Linear(10, 7), nn.Linear(7, 1)), None, "layer")
    assert scaler.scaled({"0": 0.5, "1": 0.99}) == {"0": 0.5, "1": 6 / 7}
    assert scaler.described() == {}
    assert scaler.left({"0": 0.5, "1": 0.5}) is None


def test_the_budget_in_numbers() -> None:
    scaler = WeightScaler(chain(nn.Linear(10, 7), nn.Linear(7, 1)), Budget("parameters", 0.5), "layer")
    assert scaler.described() == {"kind": "parameters", "limit": 42, "dense": 85, "least": 8 + 2, "most": 85}


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("sparsity", 0.99), r"budget.sparsity: given 0.99; expected .* a sparsity up to 0.974025$"),
        (Budget("parameters", 9.0), r"budget.parameters: given 9; expected .*: 10 to 85 parameters that are not zero"),
        (Budget("parameters", 86.0), "given 86; expected what can be reached: 10 to 85"),
        (Budget("macs", 0.5), "given 0.5 with a pruner of single weights.*pruners of filters, such as l1"),
        (Budget("latency", "5ms"), "budget.latency: given 5ms with a pruner of single weights"),
    ],
)
def test_what_can_not_be_reached_is_refused_with_what_can(budget: Budget, message: str) -> None:
    model = chain(nn.Linear(10, 7), nn.Linear(7, 1))
    with pytest.raises(UsageError, match=message):
        WeightScaler(model, budget, "layer")


def test_masks_are_those_of_the_pruner_itself() -> None:
    """At the same sparsity in every layer."""
    model, same = without_zeros("vgg"), without_zeros("vgg")
    layers = dict.fromkeys((group.name for group in WeightScaler(model, None, "layer").groups), 0.5)
    pruned(model, "level", layers, ZOO["vgg"].example())
    LevelPruner(same, [{"sparsity": 0.5, "op_types": ["default"]}]).compress()
    for one, other in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, other)
