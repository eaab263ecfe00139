"""The pruners that are one formula, against numbers worked out by hand or by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch import (
    FPGMPruner,
    L1FilterPruner,
    L1NormPruner,
    L2FilterPruner,
    L2NormPruner,
    LAMPPruner,
    LevelPruner,
    NMPruner,
    Pruner,
    RandomPruner,
)
from autoprune.compression.torch.pruners.fpgm import distance_sums
from autoprune.errors import UsageError


def conv_of(values: Sequence[float], *, inputs: int = 1) -> nn.Sequential:
    """A convolution whose filters are each of one value."""
    layer = nn.Conv2d(inputs, len(values), 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values).view(-1, 1, 1, 1).expand_as(layer.weight))
    return nn.Sequential(layer)


def dropped(masks: dict[str, dict[str, Tensor]], layer: str = "0") -> list[int]:
    """The filters of which nothing stays; every other one stays whole."""
    rows = masks[layer]["weight"].flatten(1)
    assert bool((rows.all(1) | ~rows.any(1)).all())
    return torch.nonzero(~rows.any(1)).flatten().tolist()


@pytest.mark.parametrize("pruner", [L1NormPruner, L2NormPruner])
@pytest.mark.parametrize(
    ("filters", "sparsity", "expected"), [(range(5), 0.2, [0]), (range(10), 0.6, [0, 1, 2, 3, 4, 5])]
)
def test_norms_drop_the_smallest_filters(
    pruner: type[Pruner], filters: range, sparsity: float, expected: list[int]
) -> None:
    model = conv_of([float(value) for value in filters])
    _, masks = pruner(model, [{"sparsity": sparsity, "op_types": ["Conv2d"]}]).compress()
    assert dropped(masks) == expected


def test_the_norms_differ_where_one_weight_is_large() -> None:
    """|1| * 4 = 4 against |3| = 3 in L1; sqrt(4) = 2 against 3 in L2."""
    rows = torch.tensor([[1.0, 1, 1, 1], [3, 0, 0, 0]])
    for pruner, expected in ((L1NormPruner, [1]), (L2NormPruner, [0])):
        layer = nn.Linear(4, 2)
        with torch.no_grad():
            layer.weight.copy_(rows)
        assert dropped(pruner(nn.Sequential(layer), [{"sparsity": 0.5}]).compress()[1]) == expected


def test_old_names() -> None:
    assert L1FilterPruner is L1NormPruner
    assert L2FilterPruner is L2NormPruner


@pytest.mark.parametrize(("sparsity", "expected"), [(0.2, [4, 5]), (0.6, [2, 3, 4, 5, 6, 7])])
def test_fpgm_drops_the_filters_in_the_middle(sparsity: float, expected: list[int]) -> None:
    model = conv_of([float(value) for value in range(1, 11)])
    _, masks = FPGMPruner(model, [{"sparsity": sparsity, "op_types": ["Conv2d"]}]).compress()
    assert dropped(masks) == expected


def test_fpgm_against_distances_by_numpy() -> None:
    layer = nn.Conv2d(4, 32, 3)
    filters = layer.weight.detach().numpy().reshape(32, -1).astype(np.float64)
    distances = np.sqrt(((filters[:, None] - filters[None]) ** 2).sum(2)).sum(1)
    _, masks = FPGMPruner(nn.Sequential(layer), [{"sparsity": 0.5}]).compress()
    assert dropped(masks) == sorted(np.argsort(distances)[:16].tolist())


@pytest.mark.parametrize("count", [1, 7, 8, 9, 30])
def test_distances_do_not_depend_on_how_many_rows_are_taken_at_a_time(count: int) -> None:
    points = torch.randn(count, 5, dtype=torch.float64) + 100
    expected = (points[:, None] - points[None]).square().sum(2).sqrt().sum(1)
    for rows in (1, 4, 8, 256):
        assert torch.allclose(distance_sums(points, rows), expected, rtol=1e-9)


def test_fpgm_scores_a_filter_by_what_it_differs_from_the_rest_not_by_its_size() -> None:
    """All filters far from zero, two of them twins: one of the twins goes."""
    layer = nn.Linear(3, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[100.0, 0, 0], [100, 90, 0], [100, 90, 0], [100, 0, 80]]))
    assert dropped(FPGMPruner(nn.Sequential(layer), [{"sparsity": 0.25}]).compress()[1]) == [1]


def test_fpgm_prunes_filters_only() -> None:
    with pytest.raises(UsageError, match="distances are between whole filters"):
        FPGMPruner([{"sparsity": 0.5, "granularity": "element"}])


def test_random_prunes_the_asked_share_and_follows_the_seed() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        _, masks = RandomPruner(nn.Sequential(nn.Linear(40, 50)), [{"sparsity": 0.3}]).compress()
        assert int((~masks["0"]["weight"]).sum()) == 600
        found.append(masks["0"]["weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_random_does_not_look_at_the_weights() -> None:
    layer = nn.Linear(100, 100)
    _, masks = RandomPruner(nn.Sequential(layer), [{"sparsity": 0.5}]).compress()
    magnitudes = masks["0"]["weight"].float()
    dense = torch.where(masks["0"]["weight"], layer.weight.detach(), 0).abs().sum() / magnitudes.sum()
    assert float(dense) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize(("pattern", "kept", "of"), [("2:4", 2, 4), ("1:4", 1, 4), ("4:8", 4, 8)])
def test_nm_keeps_the_largest_of_every_group_along_the_input(pattern: str, kept: int, of: int) -> None:
    linear, conv = nn.Linear(16, 6), nn.Conv2d(8, 5, 3)
    dense = {"0": linear.weight.detach().clone(), "1": conv.weight.detach().permute(0, 2, 3, 1).clone()}
    entries = [{"granularity": pattern, "op_types": ["default"]}]
    _, masks = NMPruner(nn.Sequential(linear, conv), entries).compress()
    for name, weights in dense.items():
        mask = masks[name]["weight"]
        groups = (mask if mask.ndim == 2 else mask.permute(0, 2, 3, 1)).reshape(-1, of)
        values = weights.reshape(-1, of).abs()
        assert bool((groups.sum(1) == kept).all())
        largest = np.argsort(-values.numpy(), axis=1)[:, :kept]
        assert torch.equal(torch.zeros_like(groups).scatter(1, torch.from_numpy(largest.copy()), True), groups)


def test_nm_keeps_n_of_a_last_group_that_is_not_full() -> None:
    layer = nn.Linear(6, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 3, 2, 1, 6, 5]]))
    NMPruner(nn.Sequential(layer), [{"op_types": ["Linear"]}]).compress()
    assert layer.weight.tolist() == [[4, 3, 0, 0, 6, 5]]


def test_nm_needs_no_sparsity_and_takes_no_other() -> None:
    NMPruner([{"sparsity": 0.5, "op_types": ["Linear"]}])
    NMPruner(granularity="1:4")
    for entry in ({"sparsity": 0.6}, {"total_sparsity": 0.5}, {"granularity": "5:4"}):
        with pytest.raises(UsageError, match=r"pattern|uniform or erk|N:M"):
            NMPruner([{**entry, "op_types": ["Linear"]}])


def lamp_by_sorting(weights: dict[str, np.ndarray[Any, Any]], share: float) -> dict[str, np.ndarray[Any, Any]]:
    """The formula of the paper, with one loop over the weights of a layer."""
    scores = []
    for name, weight in weights.items():
        squares = weight.astype(np.float64).ravel() ** 2
        for index, square in enumerate(squares):
            scores.append((square / squares[squares >= square].sum(), name, index))
    masks = {name: np.ones(weight.size, dtype=bool) for name, weight in weights.items()}
    for _, name, index in sorted(scores)[: int(len(scores) * share + 1e-9)]:
        masks[name][index] = False
    return masks


@pytest.mark.parametrize("key", ["sparsity", "total_sparsity"])
def test_lamp_against_the_formula(net: nn.Module, key: str) -> None:
    weights = {
        name: net.get_submodule(name).get_parameter("weight").detach().numpy() for name in ("conv0", "conv1", "fc")
    }
    expected = lamp_by_sorting({name: weight.copy() for name, weight in weights.items()}, 0.8)
    _, masks = LAMPPruner(net, [{key: 0.8, "op_types": ["default"]}]).compress()
    for name, mask in expected.items():
        assert np.array_equal(masks[name]["weight"].numpy().ravel(), mask)


def test_lamp_does_not_see_the_scale_of_a_layer() -> None:
    found = []
    for scale in (1.0, 1e-4):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 10), nn.Linear(10, 20))
        with torch.no_grad():
            model[0].get_parameter("weight").mul_(scale)
        found.append(LAMPPruner(model, [{"sparsity": 0.9}]).compress()[1]["0"]["weight"])
    assert torch.equal(*found)


def test_a_transposed_convolution_loses_output_channels() -> None:
    """Its weight is (inputs, outputs, height, width)."""
    layer = nn.ConvTranspose2d(3, 4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([3.0, 1, 4, 2]).view(1, 4, 1, 1).expand_as(layer.weight))
    _, masks = L1NormPruner(nn.Sequential(layer), [{"sparsity": 0.5}]).compress()
    outputs = masks["0"]["weight"].transpose(0, 1)
    assert [bool(channel.all()) for channel in outputs] == [True, False, True, False]
    assert [bool(channel.any()) for channel in outputs] == [True, False, True, False]


def test_channels_of_a_batch_norm_lose_scale_and_shift() -> None:
    layer = nn.BatchNorm2d(4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -0.1, 0.2, -3.0]))
        layer.bias.fill_(7.0)
    _, masks = L1NormPruner(nn.Sequential(layer), [{"sparsity": 0.5, "op_types": ["BatchNorm2d"]}]).compress()
    assert masks["0"]["weight"].tolist() == masks["0"]["bias"].tolist() == [True, False, False, True]
    assert layer.bias.tolist() == [7, 0, 0, 7]


def test_level_is_the_smallest_of_each_layer(net: nn.Module) -> None:
    dense = {name: net.get_submodule(name).get_parameter("weight").detach().abs().clone() for name in ("conv1", "fc")}
    _, masks = LevelPruner(net, [{"sparsity": 0.3, "op_names": ["conv1", "fc"]}]).compress()
    for name, weight in dense.items():
        mask = masks[name]["weight"]
        assert int((~mask).sum()) == int(weight.numel() * 0.3)
        assert weight[~mask].max() <= weight[mask].min()


@pytest.mark.parametrize("pruner", [L1NormPruner, L2NormPruner])
@pytest.mark.parametrize("granularity", ["element", "per_filter", "2:4"])
def test_single_weights_go_by_their_size_whatever_their_sign(pruner: type[Pruner], granularity: str) -> None:
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-5.0, 1, 2, -3], [-0.1, 4, 0.2, -9]]))
    pruner(nn.Sequential(layer), [{"sparsity": 0.5, "granularity": granularity}]).compress()
    expected = [[-5, 0, 0, -3], [0, 4, 0, -9]]
    assert layer.weight.tolist() == expected


@pytest.mark.parametrize("pruner", [LevelPruner, L1NormPruner, L2NormPruner, LAMPPruner])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_long_filters_of_half_precision_add_up(pruner: type[Pruner], dtype: torch.dtype) -> None:
    """Eight of 4096 weights make the difference, or a sum that half precision cannot hold."""
    layer = nn.Linear(4096, 8, dtype=dtype)
    rows = (
        torch.ones(8, 4096) if dtype is torch.bfloat16 else torch.arange(40.0, 32, -1)[:, None].expand(8, 4096).clone()
    )
    if dtype is torch.bfloat16:
        rows[:4, :8] = 1.5
    with torch.no_grad():
        layer.weight.copy_(rows)
    entry = {"sparsity": 0.5, "granularity": "filter", "allocation": "uniform"}
    assert dropped(pruner(nn.Sequential(layer), [entry]).compress()[1]) == [4, 5, 6, 7]


def test_norms_of_complex_filters() -> None:
    layer = nn.Linear(2, 4, dtype=torch.complex64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1 + 9j, 1 + 0j, 1 + 7j, 1 + 5j])[:, None].expand(4, 2))
    for pruner in (L1NormPruner, L2NormPruner):
        model = nn.Sequential(layer)
        kind = pruner(model, [{"sparsity": 0.25}])
        assert dropped(kind.compress()[1]) == [1]
        kind.unwrap()


def test_a_layer_without_weights_is_no_obstacle() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model.append(nn.Linear(2, 1))
    model[2].weight = nn.Parameter(torch.empty(4, 0))
    _, masks = L2NormPruner(model, [{"total_sparsity": 0.5}]).compress()
    assert masks["2"]["weight"].shape == (4, 0)
