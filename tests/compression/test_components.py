"""Any score with any granularity and any allocation: exact in number, nested, never emptying a ranked layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.core import allocations
from autoprune.compression.core.allocations.erk import Erk
from autoprune.compression.torch import (
    AGPPruner,
    L1NormPruner,
    L2NormPruner,
    LayerInfo,
    LevelPruner,
    Pruner,
    RandomPruner,
    SensitivityPruner,
    achieved_sparsity,
)
from autoprune.compression.torch.granularities import read
from autoprune.errors import UsageError

Masks = dict[str, dict[str, Tensor]]
SCORES = (LevelPruner, L1NormPruner, L2NormPruner, RandomPruner, SensitivityPruner)
GRANULARITIES = ("element", "filter", "per_filter", "4x4", "3x7")


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.ConvTranspose2d(16, 4, 2), nn.Linear(40, 30))


def units(mask: Tensor, granularity: str, transposed: bool = False) -> tuple[int, int]:
    """Units and pruned units, counted here by their definition; a unit is never cut."""
    first = mask.transpose(0, 1) if transposed else mask
    matrix = first.reshape(first.shape[0], -1).numpy()
    if granularity in ("element", "per_filter"):
        return matrix.size, int((~matrix).sum())
    high, wide = (1, matrix.shape[1]) if granularity == "filter" else map(int, granularity.split("x"))
    tiles = [
        matrix[row : row + high, column : column + wide]
        for row in range(0, matrix.shape[0], high)
        for column in range(0, matrix.shape[1], wide)
    ]
    assert all(tile.all() or not tile.any() for tile in tiles)
    return len(tiles), sum(not tile.any() for tile in tiles)


@pytest.mark.parametrize("pruner", SCORES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_any_score_with_any_granularity(pruner: type[Pruner], granularity: str) -> None:
    entry = {"sparsity": 0.5, "granularity": granularity, "allocation": "uniform"}
    _, masks = pruner(model(), [entry]).compress()
    for name, layer in masks.items():
        count, pruned = units(layer["weight"], granularity, transposed=name == "2")
        if granularity == "per_filter":
            rows = (layer["weight"].transpose(0, 1) if name == "2" else layer["weight"]).flatten(1)
            assert set((~rows).sum(1).tolist()) == {rows.shape[1] // 2}
        else:
            assert pruned == count // 2


@pytest.mark.parametrize("pruner", SCORES)
@pytest.mark.parametrize("allocation", ["global", "lamp", "erk"])
@pytest.mark.parametrize("granularity", ["element", "filter", "4x4"])
def test_any_score_with_any_allocation(pruner: type[Pruner], allocation: str, granularity: str) -> None:
    entry = {"sparsity": 0.8, "granularity": granularity, "allocation": allocation}
    _, masks = pruner(model(), [entry]).compress()
    pruned = sum(int((~layer["weight"]).sum()) for layer in masks.values())
    total = sum(layer["weight"].numel() for layer in masks.values())
    assert all(bool(layer["weight"].any()) for layer in masks.values())
    largest = {"element": 1, "filter": 8 * 9, "4x4": 16}[granularity]
    room = largest * len(masks) if allocation == "erk" else largest
    assert int(total * 0.8) - room < pruned <= int(total * 0.8 + 1e-9)


def test_every_allocation_is_found_by_its_name() -> None:
    assert set(allocations.names()) == {"dependency_aware", "erk", "global", "lamp", "normal", "uniform"}
    assert {allocations.find(name).name for name in allocations.names()} == set(allocations.names()) - {"normal"}


@pytest.mark.parametrize("text", ["", "elements", "2:1", "0:4", "4x0", "x", "2:4:8", 4, None])
def test_what_is_no_granularity(text: object) -> None:
    with pytest.raises(UsageError, match="expected element, filter, per_filter"):
        read(text)


class Given(Pruner):
    """Filters score what the first weight says; a unit of several weights, the largest of them."""

    granularity = "filter"

    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return weight.flatten(1)[:, 0] ** 2 * weight[0].numel()


def two_layers() -> nn.Sequential:
    """conv1 with filters of 0..4 and conv2 with filters of 10..1, as in the papers' sort over the whole network."""
    first, second = nn.Conv2d(1, 5, 5), nn.Conv2d(5, 10, 5)
    with torch.no_grad():
        first.weight.copy_(torch.arange(5.0).view(5, 1, 1, 1).expand_as(first.weight))
        second.weight.copy_(torch.arange(10.0, 0, -1).view(10, 1, 1, 1).expand_as(second.weight))
    return nn.Sequential(first, second)


def dropped(masks: Masks) -> dict[str, list[int]]:
    return {name: torch.nonzero(~layer["weight"].flatten(1).any(1)).flatten().tolist() for name, layer in masks.items()}


def test_one_ranking_weighs_filters_by_their_weights() -> None:
    """Of 1375 weights 550 may go: four filters of 25, which leave conv1 one, and three of 125; a fourth is too many."""
    _, masks = Given(two_layers(), [{"total_sparsity": 0.4}]).compress()
    assert dropped(masks) == {"0": [0, 1, 2, 3], "1": [7, 8, 9]}


def test_each_layer_by_itself() -> None:
    entries = [{"sparsity": 0.2, "op_names": ["0"]}, {"sparsity": 0.6, "op_names": ["1"]}]
    assert dropped(Given(two_layers(), entries).compress()[1]) == {"0": [0], "1": [4, 5, 6, 7, 8, 9]}


def test_a_cap_passes_the_rest_on() -> None:
    """conv1 may lose .4 of its filters at most, so the fourth filter of conv2 does not fit and nothing else can go."""
    entry = {"total_sparsity": 0.4, "max_sparsity_per_layer": 0.4}
    assert dropped(Given(two_layers(), [entry]).compress()[1]) == {"0": [0, 1], "1": [6, 7, 8, 9]}


def test_erk_by_hand() -> None:
    """(n_in + n_out + kernel) / product: 100 + 10 over 1000 = .11; 2 + 4 + 3 + 3 over 72 = .1667.

    With one factor f: 1000 * .11 f + 72 * .1667 f = 536 kept, so f = 4.393; no density above 1: .483 and .732.
    """
    divided = Erk().divide({"fc": (10, 100), "conv": (4, 2, 3, 3)}, 0.5, None)
    factor = 536 / (110 + 12)
    assert divided["fc"] == pytest.approx(1 - 0.11 * factor, abs=1 / 1000)
    assert divided["conv"] == pytest.approx(1 - 12 / 72 * factor, abs=1 / 72)


def test_erk_leaves_small_layers_dense_and_respects_a_cap() -> None:
    shapes = {"small": (10, 10), "large": (300, 300), "larger": (300, 784)}
    divided = Erk().divide(shapes, 0.5, None)
    assert divided["small"] == 0
    capped = Erk().divide(shapes, 0.5, 0.51)
    assert max(capped.values()) <= 0.51
    for found in (divided, capped):
        kept = sum(math.prod(shape) - round(math.prod(shape) * found[name]) for name, shape in shapes.items())
        assert kept == (100 + 90000 + 235200) - (100 + 90000 + 235200) // 2


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1),
    st.floats(0, 0.9),
)
def test_erk_is_exact_and_orders_layers_by_density(shapes: dict[str, tuple[int, int]], sparsity: float) -> None:
    total = sum(math.prod(shape) for shape in shapes.values())
    if math.floor(total * sparsity + 1e-9) > total - len(shapes):
        return
    divided = Erk().divide(shapes, sparsity, None)
    pruned = {name: math.floor(math.prod(shape) * divided[name] + 1e-9) for name, shape in shapes.items()}
    assert sum(pruned.values()) == math.floor(total * sparsity + 1e-9)
    for one, other in ((a, b) for a in shapes for b in shapes):
        if sum(shapes[one]) / math.prod(shapes[one]) > sum(shapes[other]) / math.prod(shapes[other]):
            assert divided[one] <= divided[other] + 1 / math.prod(shapes[one]) + 1 / math.prod(shapes[other])


def test_dependent_layers_lose_the_same_filters_by_the_sum_of_their_scores() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    norms = [
        layer.weight.detach().abs().flatten(1).sum(1) for layer in (net[0], net[2]) if isinstance(layer, nn.Conv2d)
    ]
    expected = sorted(torch.argsort(norms[0] + norms[1])[:4].tolist())
    pruner = L1NormPruner(net, [{"sparsity": 0.5}], mode="dependency_aware", groups=[["0", "2"]])
    found = dropped(pruner.compress()[1])
    assert found["0"] == found["2"] == expected
    assert len(found["1"]) == 4


def test_a_grouped_convolution_loses_as_many_filters_in_each_group() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
    with torch.no_grad():
        for layer in net:
            assert isinstance(layer, nn.Conv2d)
            layer.weight.copy_(torch.arange(8.0).view(8, 1, 1, 1).expand_as(layer.weight))
    pruner = L1NormPruner(net, [{"sparsity": 0.5}], mode="dependency_aware", groups=[["0", "1"]])
    assert dropped(pruner.compress()[1]) == {"0": [0, 1, 4, 5], "1": [0, 1, 4, 5]}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([], "without groups"),
        ([["0", "9"]], "given '9'; expected a layer that this pruner prunes by dependency"),
        ([["0", "1"], ["1", "2"]], "each layer in one group"),
    ],
)
def test_groups_that_do_not_fit(groups: list[list[str]], said: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    with pytest.raises(UsageError, match=said):
        L1NormPruner(net, [{"sparsity": 0.5}], mode="dependency_aware", groups=groups)


def test_groups_of_different_sizes_and_sparsities() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    with pytest.raises(UsageError, match="8 and 4 filters"):
        L1NormPruner(net, [{"sparsity": 0.5}], mode="dependency_aware", groups=[["0", "1"]])
    entries = [{"sparsity": 0.5, "op_names": ["0"]}, {"sparsity": 0.25, "op_names": ["1"]}]
    with pytest.raises(UsageError, match="one sparsity"):
        L1NormPruner(net, entries, mode="dependency_aware", groups=[["0", "1"]])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"total_sparsity": 0.5, "granularity": "per_filter"}, "uniform or erk"),
        ({"sparsity": 0.5, "max_sparsity_per_layer": 0.6}, "which it caps"),
        ({"sparsity": 0.5, "allocation": "dependency_aware"}, "the granularity filter"),
        ({"sparsity": 0.5, "mode": "glbal"}, "expected one of dependency_aware, erk, global"),
        ({"sparsity": 0.5, "granularity": "channel"}, "given 'channel'"),
        ({"sparsity": 0.995, "allocation": "global"}, "at most 0.99, what its layers allow"),
        ({"sparsity": 0.995, "allocation": "erk"}, "at most 0.99, what its layers allow"),
    ],
)
def test_components_that_do_not_go_together(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LevelPruner(nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10)), [entry])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["element", "filter", "per_filter", "2:4", "4x4"]),
    st.sampled_from(["uniform", "global", "erk", "lamp"]),
    st.integers(0, 1000),
)
def test_masks_nest_while_weights_move(granularity: str, allocation: str, seed: int) -> None:
    refused = {"per_filter": ("global", "lamp"), "2:4": ("global", "lamp", "erk")}
    if allocation in refused.get(granularity, ()):
        return
    entry: dict[str, Any] = {"end_epoch": 3, "granularity": granularity, "allocation": allocation}
    entry["final_sparsity"] = 0.5 if granularity == "2:4" else 0.75
    net = model()
    pruner = AGPPruner(net, [entry])
    before = pruner.compress()[1]
    torch.manual_seed(seed)
    for epoch in range(1, 4):
        with torch.no_grad():
            for name, layer in pruner.masks.items():
                net.get_submodule(name).get_parameter("weight").copy_(
                    torch.randn(layer["weight"].shape) * layer["weight"]
                )
        pruner.update_epoch(epoch)
        for name, layer in pruner.masks.items():
            assert not bool((layer["weight"] & ~before[name]["weight"]).any())
        before = pruner.masks
    assert achieved_sparsity(before) > 0.3


@pytest.mark.parametrize("name", ["l1_norm", "L1NormPruner", "FPGM", L2NormPruner])
def test_agp_with_another_pruners_score(name: Any) -> None:
    net = model()
    pruner = AGPPruner(net, [{"final_sparsity": 0.5, "end_epoch": 2}], pruning_algorithm=name)
    pruner.compress()
    pruner.update_epoch(2)
    for layer, masks in pruner.masks.items():
        count, pruned = units(masks["weight"], "filter", transposed=layer == "2")
        assert pruned == count // 2


@pytest.mark.parametrize(
    ("name", "said"), [("l1norms", "did you mean L1NormPruner"), (3, "a pruner's class"), (Pruner, "only scores")]
)
def test_what_agp_cannot_run(name: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        AGPPruner(final_sparsity=0.5, end_epoch=2, pruning_algorithm=name)


def test_every_weight_of_a_recurrent_layer_is_masked_when_named() -> None:
    net = nn.Sequential(nn.LSTM(4, 5), nn.Linear(5, 2))
    _, masks = LevelPruner(net, [{"sparsity": 0.5, "op_types": ["LSTM"]}]).compress()
    assert {name: int(mask.sum()) for name, mask in masks["0"].items()} == {"weight_ih_l0": 40, "weight_hh_l0": 50}
    assert list(LevelPruner(net, [{"sparsity": 0.5}]).compress()[1]) == ["1"]


def test_scores_that_are_equal_go_by_index_in_every_shape() -> None:
    for shape in ((40,), (8, 5), (2, 4, 5)):
        layer = nn.Module()
        layer.weight = nn.Parameter(torch.ones(shape))
        net = nn.Sequential(layer)
        _, masks = LevelPruner(net, [{"sparsity": 0.25, "op_names": ["0"]}]).compress()
        assert np.flatnonzero(~masks["0"]["weight"].numpy()).tolist() == list(range(10))


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_erk_takes_nothing_back_as_the_sparsity_rises(listed: list[tuple[int, int]]) -> None:
    shapes = {str(index): shape for index, shape in enumerate(listed)}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total, before = sum(sizes.values()), dict.fromkeys(shapes, 0)
    for wanted in range(total - len(shapes) + 1):
        divided = Erk().divide(shapes, wanted / total, None)
        pruned = {name: math.floor(sizes[name] * divided[name] + 1e-9) for name in shapes}
        assert sum(pruned.values()) == math.floor(total * (wanted / total) + 1e-9)
        assert all(pruned[name] >= before[name] for name in shapes)
        before = pruned


class Backwards(LevelPruner):
    def score(self, layer: LayerInfo, weight: Tensor) -> Tensor:
        return -weight.abs()


def test_what_another_has_pruned_goes_before_what_is_left_whatever_the_score() -> None:
    """The largest go, but first those six of ten that the other pruner took, the smallest: by their dense values."""
    layer = nn.Linear(10, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[10.0, 1, 2, 9, 3, 8, 4, 7, 5, 6]]))
    model = nn.Sequential(layer)
    LevelPruner(model, [{"sparsity": 0.6}]).compress()
    first = Backwards(model, [{"sparsity": 0.4}])
    pruned = ~first.compress()[1]["0"]["weight"]
    assert torch.nonzero(pruned.flatten()).flatten().tolist() == [4, 6, 8, 9]
