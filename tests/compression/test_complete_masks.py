"""Masks that are given, carried or loaded, and what `complete_masks` adds to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import L1NormPruner, complete_masks, load_masks, speedup
from tests.compression.compacting import chain, compact, conv, image, losing, masked, masks_of, untouched, widths
from tests.compression.recount import kept_shape, shapes
from tests.compression.zoo import ZOO

# Masks


def test_masks_that_the_model_carries() -> None:
    model, _ = L1NormPruner(chain(conv(3, 8), nn.ReLU(), conv(8, 4)), [{"sparsity": 0.5, "op_names": ["0"]}]).compress()
    small = compact(model, None, image())
    assert widths(small) == {"0": 4, "2": 4}
    assert not any("mask" in name for module in small.modules() for name in vars(module))
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    torch.autograd.backward(small(image()).square().sum())
    optimizer.step()
    assert bool((small[0].weight != 0).all())  # type: ignore[index]


def test_masks_that_were_loaded() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 4))
    load_masks(model, losing(model, _0=[1, 2]))
    assert widths(compact(model, None, image())) == {"0": 6, "2": 4}


def test_masks_that_are_not_on_the_model_count_as_if_they_were() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 4))
    keep = losing(model, _0=[1, 2])["0"]["weight"] & (torch.arange(9).view(3, 3) != 4)
    small: Any = compact(model, {"0": {"weight": keep}}, image())
    assert widths(small) == {"0": 6, "2": 4}
    assert bool((small[0].weight[:, :, 1, 1] == 0).all())
    assert int((small[0].weight == 0).sum()) == 6 * 3


def test_single_weights_make_nothing_smaller() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 4))
    with untouched(model), pytest.raises(CompressionError, match="expected masks of whole channels, as filter pruners"):
        speedup(model, {"0": {"weight": model[0].weight > 0}}, image())


def test_a_pruned_compact_model_is_made_compact_again() -> None:
    model: Any = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    for expected in (4, 2, 1):
        model, _ = L1NormPruner(model, [{"sparsity": 0.5, "op_names": ["0"]}]).compress()
        model = compact(model, None, image())
        assert widths(model) == {"0": expected, "1": expected, "3": 4}


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({}, "given no masks"),
        ([], "given list; expected masks as compress"),
        ({"9": {}}, "given a mask for '9'; expected the name of a layer"),
        ({"0": {"weight": torch.ones(8, 3, 3, 3)}}, "given torch.float32; expected a tensor of torch.bool"),
        ({"0": {"weight": torch.ones(4, 3, 3, 3, dtype=torch.bool)}}, r"given shape \(4, 3, 3, 3\)"),
        ({"0": {"gamma": torch.ones(8, dtype=torch.bool)}}, "given a mask for 'gamma'"),
        (None, "given a model without masks"),
    ],
)
@pytest.mark.parametrize("call", [speedup, complete_masks])
def test_masks_that_do_not_fit(call: Any, masks: Any, expected: str) -> None:
    model = chain(conv(3, 8), conv(8, 4))
    with untouched(model), pytest.raises(CompressionError, match=f"{call.__name__}: .*{expected}"):
        call(model, masks, image())


@pytest.mark.parametrize("given_model", [None, "model", image()])
@pytest.mark.parametrize("call", [speedup, complete_masks])
def test_what_is_no_model(call: Any, given_model: Any) -> None:
    with pytest.raises(CompressionError, match=f"{call.__name__}: given .*; expected a torch.nn.Module"):
        call(given_model, {"0": {}}, image())


# What is added


def test_what_goes_with_a_filter_is_masked_too() -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    masks = losing(model, _0=[1, 6])
    with untouched(model):
        completed = complete_masks(model, masks, image())
    gone = torch.zeros(8, dtype=torch.bool)
    gone[[1, 6]] = True
    assert {(layer, name) for layer, own in completed.items() for name in own} == {
        ("0", "weight"), ("0", "bias"), ("1", "weight"), ("1", "bias"), ("3", "weight"),
    }  # fmt: skip
    for layer, name in (("0", "bias"), ("1", "weight"), ("1", "bias")):
        assert torch.equal(completed[layer][name], ~gone)
    assert torch.equal(completed["0"]["weight"], ~gone.view(8, 1, 1, 1).expand(8, 3, 3, 3))
    assert torch.equal(completed["3"]["weight"], ~gone.view(1, 8, 1, 1).expand(4, 8, 3, 3))


def test_masks_are_only_extended() -> None:
    model = ZOO["resnet18"].build().eval()
    model, masks = L1NormPruner(model, [{"sparsity": 0.5, "op_types": ["Conv2d"]}]).compress()
    completed = complete_masks(model, masks, ZOO["resnet18"].example())
    for layer, own in masks.items():
        for name, keep in own.items():
            assert not bool((completed[layer][name] & ~keep).any())


def test_completed_masks_are_complete() -> None:
    model, example = ZOO["densenet"].build().eval(), ZOO["densenet"].example()
    completed = complete_masks(model, masks_of(model), example)
    again = complete_masks(model, completed, example)
    assert completed.keys() == again.keys()
    assert all(torch.equal(again[layer][name], keep) for layer, own in completed.items() for name, keep in own.items())


def test_completed_masks_make_the_same_model() -> None:
    model, example = ZOO["mobilenet_v2"].build().eval(), ZOO["mobilenet_v2"].example()
    masks = masks_of(model)
    one, other = (speedup(model, each, example) for each in (masks, complete_masks(model, masks, example)))
    assert shapes(one) == shapes(other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_given_masks_are_not_written_to() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 4))
    masks = losing(model, _0=[1], _2=[0])
    before = {layer: {name: keep.clone() for name, keep in own.items()} for layer, own in masks.items()}
    completed = complete_masks(model, masks, image())
    completed["0"]["weight"].fill_(False)
    assert all(torch.equal(keep, before[layer][name]) for layer, own in masks.items() for name, keep in own.items())


def test_completed_masks_can_be_loaded() -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    completed = complete_masks(model, losing(model, _0=[1, 2]), image())
    expected = masked(model, completed)
    load_masks(model, completed)
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in model.state_dict().items())
    assert widths(compact(model, None, image())) == {"0": 6, "1": 6, "3": 4}


def test_a_shared_weight_comes_once() -> None:
    model, example = ZOO["tied_embedding"].build(), ZOO["tied_embedding"].example()
    completed = complete_masks(model, masks_of(model, only=["embed", "fc1", "fc2"]), example)
    kept = {layer: kept_shape(own["weight"]) for layer, own in completed.items()}
    assert kept == {"embed": (50, 8), "fc1": (16, 8), "fc2": (8, 16)}
