"""AGP: the masks follow equation 1, hold between updates and nest while the weights train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.compression.torch import AGPPruner
from autoprune.errors import UsageError


def pruned_share(pruner: Any, layer: str = "fc") -> float:
    return 1 - float(pruner.masks[layer]["weight"].double().mean())


def agp(model: nn.Module, **changes: Any) -> Any:
    entry = {"initial_sparsity": 0, "final_sparsity": 0.8, "start_epoch": 0, "end_epoch": 10, "frequency": 1}
    return AGPPruner(model, [{**entry, "op_types": ["default"], **changes}])


def test_the_schedule_of_the_paper(net: nn.Module) -> None:
    pruner = agp(net)
    _, masks = pruner.compress()
    assert all(bool(layer["weight"].all()) for layer in masks.values())
    for epoch, expected in {1: 0.2168, 2: 0.3904, 5: 0.7, 10: 0.8, 30: 0.8}.items():
        pruner.update_epoch(epoch)
        assert pruned_share(pruner) == pytest.approx(expected, abs=1 / 960)


def test_the_target_holds_whatever_the_frequency(net: nn.Module) -> None:
    pruner = agp(net, frequency=4)
    pruner.compress()
    pruner.update_epoch(8)
    at_eight = pruner.masks["fc"]["weight"]
    pruner.update_epoch(9)
    assert torch.equal(pruner.masks["fc"]["weight"], at_eight)
    pruner.update_epoch(10)
    assert pruned_share(pruner) == pytest.approx(0.8)


def test_off_frequency_epochs_keep_the_masks_while_weights_move(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = agp(net, frequency=2)
    pruner.compress()
    pruner.update_epoch(2)
    before = pruner.masks["fc"]["weight"]
    train(net, torch.optim.SGD(net.parameters(), lr=0.5))
    pruner.update_epoch(3)
    assert torch.equal(pruner.masks["fc"]["weight"], before)


def test_before_the_start_and_without_a_span(net: nn.Module) -> None:
    pruner = agp(net, initial_sparsity=0.25, start_epoch=3, end_epoch=3)
    pruner.compress()
    assert pruned_share(pruner) == 0.25
    pruner.update_epoch(2)
    assert pruned_share(pruner) == 0.25
    pruner.update_epoch(3)
    assert pruned_share(pruner) == pytest.approx(0.8)


def test_masks_nest_while_the_weights_train(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = agp(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    _, masks = pruner.compress()
    for epoch in range(12):
        train(net, optimizer, steps=2)
        pruner.update_epoch(epoch + 1)
        for name, layer in pruner.masks.items():
            assert not bool((layer["weight"] & ~masks[name]["weight"]).any())
        masks = pruner.masks
    assert pruned_share(pruner) == pytest.approx(0.8)


def test_masks_nest_where_kept_weights_are_zero() -> None:
    layer = nn.Linear(10, 1, bias=False)
    model = nn.Sequential(layer)
    pruner = agp(model, initial_sparsity=0.3, end_epoch=2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(10.0, 0.0, -1.0))
    pruner.compress()
    with torch.no_grad():
        layer.weight.zero_()
    pruner.update_epoch(1)
    assert not bool(pruner.masks["0"]["weight"][0, 7:].any())
    pruner.update_epoch(2)
    assert not bool(pruner.masks["0"]["weight"][0, 7:].any())


def test_an_earlier_epoch_brings_the_largest_pruned_weights_back() -> None:
    layer = nn.Linear(10, 1, bias=False)
    model = nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([5.0, 1, 9, 3, 7, 2, 8, 4, 10, 6]))
    pruner = agp(model, end_epoch=0)
    pruner.compress()
    assert layer.weight.tolist() == [[0, 0, 9, 0, 0, 0, 0, 0, 10, 0]]
    revived = agp(model, end_epoch=1, initial_sparsity=0.3)
    pruner.unwrap()
    revived.compress()
    revived.update_epoch(1)
    revived.update_epoch(0)
    assert layer.weight.tolist() == [[5, 0, 9, 0, 7, 0, 8, 4, 10, 6]]


def test_a_pooled_schedule(net: nn.Module) -> None:
    pruner = AGPPruner(net, [{"total_sparsity": 0.8, "end_epoch": 2, "op_types": ["default"]}])
    pruner.compress()
    pruner.update_epoch(1)
    pruned = sum(int((~layer["weight"]).sum()) for layer in pruner.masks.values())
    assert pruned == int(1212 * 0.7 + 1e-9)


def test_keywords_make_one_entry_for_the_default_layers(net: nn.Module) -> None:
    pruner = AGPPruner(initial_sparsity=0, final_sparsity=0.8, start_epoch=1, end_epoch=10, frequency=1)
    model, masks = pruner(net)
    assert model is net
    assert list(masks) == ["conv0", "conv1", "fc"]
    pruner.update_epoch(10)
    assert pruned_share(pruner) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"end_epoch": 2, "start_epoch": 3}, "start_epoch, 3, or later"),
        ({"initial_sparsity": 0.9}, "the final sparsity, 0.8, or less"),
        ({"frequency": 0}, "1 or more"),
        ({"end_epoch": 2.5}, "a whole number"),
        ({"final_sparsity": 1.0}, "up to but not 1"),
    ],
)
def test_settings_that_contradict(net: nn.Module, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match="config_list") as caught:
        agp(net, **changes)
    assert said in str(caught.value)


@pytest.mark.parametrize("epoch", [-1, 1.5, "2", True, None])
def test_epochs_are_whole_numbers(net: nn.Module, epoch: Any) -> None:
    pruner = agp(net)
    pruner.compress()
    with pytest.raises(UsageError, match="update_epoch"):
        pruner.update_epoch(epoch)


def test_update_epoch_before_compress_is_an_error(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="call compress"):
        agp(net).update_epoch(1)
