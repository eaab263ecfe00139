"""Budgets of filters: never above, and nothing more fits; counts of plans are those of models that are really cut."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.cost import measure
from autoprune.errors import UsageError
from autoprune.search.channels import Channels, removable
from autoprune.search.filters import FilterScaler
from autoprune.search.grouping import Granularity
from autoprune.search.pruning import pruned
from autoprune.search.scaling import Budget
from tests.compression import recount
from tests.compression.compacting import chain, conv, image, net
from tests.compression.zoo import ZOO, Example

KINDS = ("sparsity", "parameters", "macs", "size")
CUTTABLE = [name for name in ZOO if name != "two_inputs"]
FEW = ("resnet18", "resnext", "mobilenet_v2", "unet_groupnorm", "vit", "chunked", "speech", "shared_conv")


def budget_of(kind: str, share: float, scaler: FilterScaler) -> Budget:
    """So far from the least to all that there is."""
    numbers = scaler.described()
    limit = int(numbers["least"] + share * (numbers["dense"] - numbers["least"]))
    return Budget(kind, 1 - limit / numbers["dense"] if kind == "sparsity" else float(limit))


def loosest(kind: str) -> Budget:
    return Budget(kind, 1e-12 if kind == "sparsity" else 1 - 1e-12)


def drawn(scaler: FilterScaler, draw: random.Random) -> dict[str, float]:
    return {group.name: draw.uniform(0, 0.99) for group in scaler.groups}


def counted(kind: str, model: nn.Module, example: Example, layers: Mapping[str, float]) -> int:
    """The figure of a real model, by formulas that know nothing of plans."""
    match kind:
        case "sparsity":
            return sum(model.get_submodule(layer).get_parameter("weight").numel() for layer in layers)
        case "parameters":
            return recount.parameters(model)
        case "macs":
            return recount.macs(model, example)
        case _:
            return int(measure(model, example, latency=False, macs=False).weight_memory or 0)


def assert_full(scaler: FilterScaler, layers: Mapping[str, float], channels: tuple[Channels, ...]) -> None:
    """Within the budget, and one step more of anything is above it."""
    limit, left = scaler.described()["limit"], scaler.left(layers)
    assert left is not None
    assert left <= limit
    for each in channels:
        if step := each.nearest(layers[each.layers[0]]):
            more = {**layers, **dict.fromkeys(each.layers, each.sparsities[step - 1])}
            assert (scaler.left(more) or 0) > limit


def hold(name: str, kind: str, budgets: int, allocations: int) -> None:
    """All that budgets promise, for so many of them and random allocations; one of each is really cut."""
    model, example, draw = ZOO[name].build().eval(), ZOO[name].example(), random.Random(f"{name} {kind}")
    whole = FilterScaler(model, example, loosest(kind), "layer")
    channels = removable(model, example).channels
    dense = whole.described()["dense"]
    for _ in range(budgets):
        scaler = FilterScaler(model, example, budget_of(kind, draw.random(), whole), "layer")
        for _ in range(allocations):
            layers = scaler.scaled(drawn(scaler, draw))
            assert_full(scaler, layers, channels)
        small = pruned(copy.deepcopy(model), "l1", layers, example)
        assert counted(kind, small, example, layers) == scaler.left(layers), layers
    assert counted(kind, model, example, layers) == dense


@pytest.mark.parametrize("name", FEW)
def test_plans_count_what_is_really_left(name: str) -> None:
    hold(name, KINDS[FEW.index(name) % 4], budgets=1, allocations=20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CUTTABLE)
def test_two_hundred_allocations_of_each_net(name: str, kind: str) -> None:
    """Two hundred for all kinds of budget together."""
    hold(name, kind, budgets=2, allocations=25)


def small_net() -> nn.Module:
    """Weights: 3 * 8 * 9 + 8 * 6 * 9, and 6 * 5 that stay in their number of rows."""
    return chain(conv(3, 8), nn.ReLU(), conv(8, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def test_parameters_by_hand() -> None:
    """Of 8 and 6 channels, half each: 4 (27 + 1) + 3 (36 + 1) + 5 (3 + 1)."""
    scaler = FilterScaler(small_net(), image(), Budget("parameters", 243.0), "layer")
    layers = scaler.scaled({"0": 0.5, "2": 0.5})
    assert layers == {"0": 0.5, "2": 0.5}
    assert scaler.left(layers) == 4 * 28 + 3 * 37 + 5 * 4 == 243
    dense, least = 8 * 28 + 6 * 73 + 5 * 7, 28 + 10 + 10
    assert scaler.described() == {"kind": "parameters", "limit": 243, "dense": dense, "least": least, "most": dense}


def test_macs_and_weights_by_hand() -> None:
    """Two images of 8 by 8 in the example; the sparsity is that of the two convolutions."""
    macs = FilterScaler(small_net(), image(), Budget("macs", 0.5), "layer")
    assert macs.left({"0": 0.5, "2": 0.5}) == 2 * (64 * 4 * 27 + 64 * 3 * 36 + 3 * 5)
    weights = FilterScaler(small_net(), image(), Budget("sparsity", 0.5), "layer")
    assert weights.left({"0": 0.5, "2": 0.5}) == 4 * 27 + 3 * 36
    size = FilterScaler(small_net().double(), image().double(), Budget("size", 0.5), "layer")
    assert size.left({"0": 0.5, "2": 0.5}) == 8 * (4 * 28 + 3 * 37 + 5 * 4)


def test_a_sparsity_is_never_missed_by_rounding() -> None:
    """648 weights: at 50 % no more than 324 are left."""
    scaler = FilterScaler(small_net(), image(), Budget("sparsity", 0.5), "layer")
    assert scaler.described()["limit"] == 324


def test_without_a_budget_they_are_the_nearest_whole_channels() -> None:
    scaler = FilterScaler(small_net(), image(), None, "layer")
    assert scaler.scaled({"0": 0.3, "2": 0.3}) == {"0": 0.25, "2": 2 / 6}
    assert scaler.scaled({"0": 0.0, "2": 0.99}) == {"0": 0.0, "2": 5 / 6}
    assert scaler.scaled({"0": 1 / 16, "2": 0.5}) == {"0": 0.0, "2": 0.5}
    assert scaler.described() == {}
    assert scaler.left({"0": 0.25, "2": 0.5}) is None


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("sparsity", 0.99), r"budget.sparsity: given 0.99; expected .*: a sparsity up to 0.944444$"),
        (Budget("parameters", 47.0), r"given 47; expected what can be reached: 48 to 697 parameters"),
        (Budget("parameters", 698.0), r"given 698; expected what can be reached: 48 to 697 parameters"),
        (Budget("macs", 0.01), r"budget.macs: given 0.01; .*: 4618 to 83004 multiply-accumulates"),
        (Budget("size", 0.01), r"budget.size: given 0.01; expected what can be reached: 192 to 2788 bytes"),
        (Budget("weight", 0.5), r"budget.weight: given with pruners of filters; expected .* \(valid: sparsity"),
    ],
)
def test_what_can_not_be_reached_is_refused_with_what_can(budget: Budget, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FilterScaler(small_net(), image(), budget, "layer")


def test_all_that_can_be_reached_is_reached() -> None:
    """With one channel of everything, and with all."""
    model, example = ZOO["resnet18"].build().eval(), ZOO["resnet18"].example()
    numbers = FilterScaler(model, example, loosest("parameters"), "layer").described()
    least = FilterScaler(model, example, Budget("parameters", float(numbers["least"])), "layer")
    layers = least.scaled(dict.fromkeys((group.name for group in least.groups), 0.3))
    small = pruned(copy.deepcopy(model), "l1", layers, example)
    assert recount.parameters(small) == numbers["least"]
    assert {small.get_submodule(layer).get_parameter("weight").shape[0] for layer in layers} == {1}
    most = FilterScaler(model, example, Budget("parameters", float(numbers["most"])), "layer")
    assert set(most.scaled(dict.fromkeys((group.name for group in most.groups), 0.9)).values()) == {0.0}


@pytest.mark.parametrize("granularity", ["block", "stage"])
def test_parts_of_a_model_keep_to_the_budget_too(granularity: Granularity) -> None:
    model, example, draw = ZOO["resnet18"].build().eval(), ZOO["resnet18"].example(), random.Random(3)
    scaler = FilterScaler(model, example, Budget("macs", 0.4), granularity)
    channels = removable(model, example).channels
    for _ in range(10):
        raw = drawn(scaler, draw)
        layers = scaler.scaled(raw)
        assert_full(scaler, layers, channels)
        assert scaler.of_groups(layers).keys() == raw.keys()
    assert list(layers) == [name for name, _ in model.named_modules() if name in layers]


@cache
def resnet() -> FilterScaler:
    return FilterScaler(ZOO["resnet18"].build().eval(), ZOO["resnet18"].example(), Budget("macs", 0.37), "layer")


SHARES = st.lists(st.integers(0, 63).map(lambda sixtyfourths: sixtyfourths / 64), min_size=12, max_size=12)


@given(SHARES)
def test_only_the_proportion_of_densities_counts(shares: list[float]) -> None:
    """Half of all densities is the same proposal, and what came out is a proposal of itself."""
    names = [group.name for group in resnet().groups]
    layers = resnet().scaled(dict(zip(names, shares, strict=True)))
    assert resnet().scaled({name: 1 - (1 - share) / 2 for name, share in zip(names, shares, strict=True)}) == layers
    assert resnet().scaled(resnet().of_groups(layers)) == layers


def branches() -> nn.Module:
    """Three hidden layers side by side, each channel of which has 4 + 1 + 1 parameters."""

    def run(model: nn.Module, x: Tensor) -> Tensor:
        return torch.cat([model.a2(model.a1(x).relu()), model.b2(model.b1(x).relu()), model.c2(model.c1(x).relu())], 1)

    return net(
        run,
        **{f"{name}1": nn.Linear(4, 16) for name in "abc"},
        **{f"{name}2": nn.Linear(16, 1) for name in "abc"},
    )


@cache
def beside(channels: int) -> FilterScaler:
    """Of 48 channels, so many may stay, and the three biases of the outputs."""
    return FilterScaler(branches(), torch.zeros(2, 4), Budget("parameters", float(6 * channels + 3)), "layer")


@given(st.integers(3, 48), st.lists(st.floats(0, 0.99), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 1))
def test_where_all_channels_cost_the_same_a_group_that_is_to_be_denser_is_never_less_so(
    channels: int, shares: list[float], which: int, factor: float
) -> None:
    names = ["a1", "b1", "c1"]
    before = beside(channels).scaled(dict(zip(names, shares, strict=True)))
    shares[which] *= factor
    after = beside(channels).scaled(dict(zip(names, shares, strict=True)))
    assert sum(round(16 * (1 - share)) for share in before.values()) == channels
    assert sum(round(16 * (1 - share)) for share in after.values()) == channels
    assert after[names[which]] <= before[names[which]]


@given(st.integers(3, 47), st.lists(st.floats(0, 0.99), min_size=3, max_size=3))
def test_more_budget_takes_nothing_from_any_group(channels: int, shares: list[float]) -> None:
    raw = dict(zip(["a1", "b1", "c1"], shares, strict=True))
    less, more = beside(channels).scaled(raw), beside(channels + 1).scaled(raw)
    assert all(more[name] <= less[name] for name in raw)
    assert sum(less.values()) - sum(more.values()) == pytest.approx(1 / 16)


@given(SHARES, st.integers(0, 11), st.floats(0, 0.99))
def test_a_channel_less_never_costs_more(shares: list[float], which: int, other: float) -> None:
    names = [group.name for group in resnet().groups]
    one = dict(zip(names, shares, strict=True))
    two = {**one, names[which]: max(other, shares[which])}
    left = [resnet().left(resnet().of_layers(each)) or 0 for each in (one, two)]
    assert left[1] <= left[0]


def test_the_same_proposal_is_the_same_plan_in_a_fresh_model() -> None:
    example = ZOO["densenet"].example()
    found = []
    for _ in range(2):
        scaler = FilterScaler(ZOO["densenet"].build().eval(), example, Budget("size", 0.4), "layer")
        found.append(scaler.scaled(drawn(scaler, random.Random(4))))
    assert found[0] == found[1]
    assert list(found[0]) == list(found[1])


def test_what_does_not_follow_from_channels_is_refused() -> None:
    """A product that is in no layer, and that no gradient goes through, has fewer rows when channels go."""

    def run(model: nn.Module, x: Tensor) -> Tensor:
        features = model.a(x)
        gate = (features.detach().flatten(2) @ torch.ones(64, 3)).sum(2)
        return model.b(features.mean((2, 3)) * gate)

    model = net(run, a=conv(3, 8), b=nn.Linear(8, 5))
    assert FilterScaler(model, image(), Budget("parameters", 0.9), "layer").groups
    with pytest.raises(UsageError, match=r"budget.macs: given a model of which it does not follow.*another kind"):
        FilterScaler(model, image(), Budget("macs", 0.9), "layer")
