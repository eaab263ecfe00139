"""Han's rule: a threshold of one quality times the standard deviation of each layer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch import SensitivityPruner
from autoprune.errors import UsageError


def weights(model: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    layers = ("conv0", "conv1", "fc")
    return {name: model.get_submodule(name).get_parameter("weight").detach().numpy().copy() for name in layers}


def kept(masks: dict[str, dict[str, Tensor]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: layer["weight"].numpy() for name, layer in masks.items()}


def test_one_quality_prunes_the_share_of_all_layers_together(net: nn.Module) -> None:
    dense = weights(net)
    _, masks = SensitivityPruner(net, [{"sparsity": 0.8, "op_types": ["default"]}]).compress()
    relative = {
        name: np.abs(weight.astype(np.float64)) / weight.astype(np.float64).std() for name, weight in dense.items()
    }
    ordered = np.sort(np.concatenate([layer.ravel() for layer in relative.values()]))
    k = int(1212 * 0.8)
    quality = (ordered[k - 1] + ordered[k]) / 2
    assert sum(int((~mask).sum()) for mask in kept(masks).values()) == k
    for name, mask in kept(masks).items():
        assert np.array_equal(mask, relative[name] >= quality)


def test_keywords_as_printed(net: nn.Module) -> None:
    pruner = SensitivityPruner(sparsity=0.8)
    pruner(net)
    pruner.update_epoch(1)
    assert sum(int((~mask).sum()) for mask in kept(pruner.masks).values()) == int(1212 * 0.8)


def test_scaling_a_layer_changes_nothing(net: nn.Module) -> None:
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled.get_submodule("conv1").get_parameter("weight").mul_(1024)
    plain, other = (kept(SensitivityPruner(model, [{"sparsity": 0.6}]).compress()[1]) for model in (net, scaled))
    assert all(np.array_equal(mask, other[name]) for name, mask in plain.items())


@pytest.mark.parametrize("quality", [0.8, 0.3])
def test_a_quality_is_the_threshold_itself(net: nn.Module, quality: float) -> None:
    dense = weights(net)
    _, masks = SensitivityPruner(net, [{"quality": quality}]).compress()
    for name, mask in kept(masks).items():
        assert np.array_equal(mask, np.abs(dense[name]) >= quality * dense[name].astype(np.float64).std())


def test_a_quality_of_point_eight_prunes_57_percent_of_a_gaussian() -> None:
    """erf(.8 / sqrt(2)) = .5763."""
    layer = nn.Linear(400, 400)
    nn.init.normal_(layer.weight, std=3.0)
    _, masks = SensitivityPruner(nn.Sequential(layer), [{"quality": 0.8}]).compress()
    assert 1 - float(masks["0"]["weight"].double().mean()) == pytest.approx(0.5763, abs=0.005)


def test_a_quality_is_applied_anew_each_epoch_and_masks_nest(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = SensitivityPruner(net, [{"quality": 0.5}])
    before = kept(pruner.compress()[1])
    train(net, torch.optim.SGD(net.parameters(), lr=0.5))
    expected = {name: np.abs(weight) >= 0.5 * weight.astype(np.float64).std() for name, weight in weights(net).items()}
    pruner.update_epoch(1)
    for name, mask in kept(pruner.masks).items():
        assert np.array_equal(mask, expected[name])
        assert not bool((mask & ~before[name]).any())


def test_step_by_step_to_the_target(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = SensitivityPruner(net, [{"sparsity": 0.8, "start_epoch": 0, "end_epoch": 4}])
    pruner.compress()
    pruned = []
    for epoch in range(5):
        pruner.update_epoch(epoch)
        train(net, torch.optim.SGD(net.parameters(), lr=0.1), steps=1)
        pruned.append(sum(int((~mask).sum()) for mask in kept(pruner.masks).values()))
    assert pruned == [int(1212 * 0.8 * (1 - (1 - epoch / 4) ** 3)) for epoch in range(5)]


def test_a_layer_of_equal_weights_has_no_small_ones() -> None:
    flat, spread = nn.Linear(10, 10), nn.Linear(10, 10)
    nn.init.constant_(flat.weight, 0.1)
    _, masks = SensitivityPruner(nn.Sequential(flat, spread), [{"sparsity": 0.4}]).compress()
    assert bool(masks["0"]["weight"].all())
    assert int((~masks["1"]["weight"]).sum()) == 80


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"quality": 0.5, "sparsity": 0.5}, "both"),
        ({"quality": 0}, "a number above 0"),
        ({"quality": 0.5, "granularity": "filter"}, "a quality says which weights go"),
        ({"sparsity": 0.5, "start_epoch": 3, "end_epoch": 2}, "start_epoch, 3, or later"),
        ({}, "sparsity .or quality."),
    ],
)
def test_settings_that_contradict(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SensitivityPruner([entry])
