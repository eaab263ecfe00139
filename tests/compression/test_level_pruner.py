"""Level: exactly the smallest weights of each layer, for any shape and dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoprune.compression.torch import LevelPruner, achieved_sparsity, layer_sizes
from autoprune.errors import UsageError


def by_hand(weight: torch.Tensor, sparsity: float) -> np.ndarray:
    """What is kept, by a stable sort of |w|."""
    size = np.abs(weight.detach().double().numpy()).ravel()
    keep = np.ones(size.size, dtype=bool)
    keep[np.argsort(size, kind="stable")[: math.floor(size.size * sparsity + 1e-9)]] = False
    return keep.reshape(weight.shape)


def fill(weight: torch.Tensor, kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(weight.shape, generator=generator)
    if kind == "constant":
        values = torch.full_like(values, 0.25)
    elif kind == "quantised":
        values = (values * 2).round() / 4
    elif kind == "zero":
        values = torch.zeros_like(values)
    weight.copy_(values)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0, 0.999),
    st.sampled_from(["normal", "constant", "quantised", "zero"]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    st.integers(0, 99),
)
def test_masks_equal_a_stable_sort(
    rows: int, columns: int, sparsity: float, kind: str, dtype: torch.dtype, seed: int
) -> None:
    layer = nn.Linear(columns, rows).to(dtype)
    model = nn.Sequential(layer)
    with torch.no_grad():
        fill(layer.weight, kind, seed)
    before = layer.weight.detach().clone()
    returned, masks = LevelPruner(model, [{"sparsity": sparsity, "op_types": ["default"]}]).compress()
    keep = masks["0"]["weight"]
    assert returned is model
    assert keep.dtype == torch.bool
    assert np.array_equal(keep.numpy(), by_hand(before, sparsity))
    assert torch.equal(layer.weight.detach(), torch.where(keep, before, 0))


def test_only_the_weights_of_selected_layers_are_masked(net: nn.Module) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    _, masks = LevelPruner(net, [{"sparsity": 0.5, "op_names": ["conv1"]}]).compress()
    assert {name: list(layer) for name, layer in masks.items()} == {"conv1": ["weight"]}
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) or name == "conv1.weight"


def test_no_sparsity_gives_masks_of_ones(net: nn.Module) -> None:
    _, masks = LevelPruner(net, [{"sparsity": 0, "op_types": ["default"]}]).compress()
    assert list(masks) == ["conv0", "conv1", "fc"]
    assert all(bool(layer["weight"].all()) for layer in masks.values())
    assert achieved_sparsity(masks) == 0.0


def test_a_pooled_budget_ranks_all_layers_of_the_entry_together(net: nn.Module) -> None:
    weights = {name: net.get_submodule(name).get_parameter("weight").detach().clone() for name in ("conv1", "fc")}
    _, masks = LevelPruner(net, [{"total_sparsity": 0.4, "op_names": ["conv1", "fc"]}]).compress()
    joined = torch.cat([value.flatten() for value in weights.values()])
    keep = torch.cat([masks[name]["weight"].flatten() for name in weights])
    assert np.array_equal(keep.numpy(), by_hand(joined, 0.4))


def test_a_pooled_budget_is_capped_and_never_empties_a_layer(net: nn.Module) -> None:
    with torch.no_grad():
        net.get_submodule("conv0").get_parameter("weight").mul_(1e-6)
    _, masks = LevelPruner(net, [{"total_sparsity": 0.9, "op_types": ["default"]}]).compress()
    sizes = layer_sizes(net)
    assert int(masks["conv0"]["weight"].sum()) == 1
    pruned = sum(int((~layer["weight"]).sum()) for layer in masks.values())
    assert pruned == math.floor(sum(sizes.values()) * 0.9 + 1e-9)


def test_a_cap_moves_the_budget_to_other_layers(net: nn.Module) -> None:
    with torch.no_grad():
        net.get_submodule("conv0").get_parameter("weight").mul_(1e-6)
    entry = {"total_sparsity": 0.5, "max_sparsity_per_layer": 0.6, "op_types": ["default"]}
    _, masks = LevelPruner(net, [entry]).compress()
    assert int((~masks["conv0"]["weight"]).sum()) == math.floor(36 * 0.6 + 1e-9)
    assert achieved_sparsity(masks) == pytest.approx(0.5, abs=1e-3)


def test_a_cap_below_the_budget_is_an_error(net: nn.Module) -> None:
    entry = {"total_sparsity": 0.9, "max_sparsity_per_layer": 0.5, "op_types": ["default"]}
    with pytest.raises(UsageError, match=r"at most 0\.5"):
        LevelPruner(net, [entry])


def test_nan_weights_are_an_error_that_leaves_the_model_alone(net: nn.Module) -> None:
    before = net.get_submodule("conv0").get_parameter("weight").detach().clone()
    with torch.no_grad():
        net.get_submodule("fc").get_parameter("weight")[0, 0] = float("nan")
    with pytest.raises(UsageError, match="'fc'"):
        LevelPruner(net, [{"sparsity": 0.5}]).compress()
    assert torch.equal(net.get_submodule("conv0").get_parameter("weight"), before)


def test_sizes_and_achieved_sparsity(net: nn.Module, tied: nn.Module) -> None:
    assert layer_sizes(net) == {"conv0": 36, "conv1": 216, "fc": 960}
    assert layer_sizes(net, ["fc", "bn"]) == {"fc": 960, "bn": 4}
    assert layer_sizes(tied) == {"embed": 96, "mix": 64}
    with pytest.raises(UsageError, match="did you mean conv1"):
        layer_sizes(net, ["conv_1"])
    with pytest.raises(UsageError, match="share"):
        layer_sizes(tied, ["embed", "head"])
    with pytest.raises(UsageError, match="without masks"):
        achieved_sparsity(net)
    _, masks = LevelPruner(net, [{"sparsity": 0.5, "op_names": ["conv0", "fc"]}]).compress()
    assert achieved_sparsity(masks) == achieved_sparsity(net) == 0.5
