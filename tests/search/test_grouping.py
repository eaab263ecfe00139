"""Groups of a model: which layers share one sparsity, and how much of them can go."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autoprune.errors import UsageError
from autoprune.records import Group
from autoprune.search.channels import removable
from autoprune.search.grouping import Granularity, filter_groups, weight_groups
from tests.compression.compacting import chain, conv, image, net, untouched
from tests.compression.zoo import ZOO


def groups_of(model: nn.Module, example: Any, granularity: Granularity = "layer") -> dict[str, Group]:
    return {group.name: group for group in filter_groups(model, example, granularity)[0]}


def zoo_groups(name: str, granularity: Granularity = "layer") -> dict[str, Group]:
    return groups_of(ZOO[name].build().eval(), ZOO[name].example(), granularity)


def test_layers_that_are_added_are_one_group() -> None:
    groups = zoo_groups("resnet18")
    assert groups["conv1"].layers == ("conv1", "layer1.0.conv2", "layer1.1.conv2")
    assert groups["layer2.0.conv2"].layers == ("layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2")
    assert groups["layer1.0.conv1"].layers == ("layer1.0.conv1",)


def test_a_depthwise_convolution_goes_with_what_it_reads() -> None:
    groups = zoo_groups("mobilenet_v2")
    assert groups["features.2.conv.0.0"].layers == ("features.2.conv.0.0", "features.2.conv.1.0")


def test_size_counts_weights_and_units_what_can_go_while_one_stays() -> None:
    model = chain(conv(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 5))
    assert groups_of(model, image()) == {"0": Group("0", ("0",), 3 * 8 * 9, 7)}


def test_channels_go_in_the_bundles_that_layers_keep_whole() -> None:
    """Groups of a GroupNorm, heads of an attention, and one of each group of a convolution."""
    assert zoo_groups("unet_groupnorm")["enc1.0"].units == 4 - 1
    assert zoo_groups("vit")["blocks.0.attn.qkv"].units == 4 - 1
    assert zoo_groups("resnext")["layer2.0.conv1"].units == 16 // 4 - 1


@pytest.mark.parametrize("name", ["lstm", "transformer_encoder", "tied_embedding", "convnext", "generator_fixed"])
def test_what_can_not_lose_a_channel_is_no_group(name: str) -> None:
    """Embeddings, recurrent layers, what a LayerNorm normalises, the output, a number that is written into the code."""
    expected = {
        "lstm": ["fc1"],
        "transformer_encoder": ["layers.0.linear1", "layers.1.linear1"],
        "tied_embedding": ["fc1"],
        "convnext": ["stages.0.pwconv1", "stages.1.pwconv1", "stages.3.pwconv1"],
        "generator_fixed": ["up.2"],
    }
    assert list(zoo_groups(name)) == expected[name]


def slicing() -> Any:
    """The first four channels are an output; the others are read by a linear layer."""

    def run(model: Any, x: torch.Tensor) -> Any:
        features = F.relu(model.a(x))
        return features[:, :4], model.head(features[:, 4:].mean((2, 3)))

    return net(run, a=conv(3, 12), head=nn.Linear(8, 5))


def test_channels_that_have_to_stay_are_no_units() -> None:
    assert groups_of(slicing(), image())["a"] == Group("a", ("a",), 3 * 12 * 9, 8 - 1)


def test_what_differs_in_who_reads_it_goes_in_fixed_proportions() -> None:
    """Half of the channels is read twice: what so many channels leave would depend on which they are."""

    def run(model: Any, x: torch.Tensor) -> Any:
        one, other = F.relu(model.a(x)).chunk(2, 1)
        return model.b(one).mean((2, 3)) + model.c(torch.cat([one, other], 1)).mean((2, 3))

    model = net(run, a=conv(3, 12), b=conv(6, 4), c=conv(12, 4))
    assert groups_of(model, image())["a"].units == 5


def test_layers_that_would_have_to_lose_as_many_but_share_no_channel_stay_whole() -> None:
    """One group of the convolution reads one of them, the other group the other."""

    def run(model: Any, x: torch.Tensor) -> Any:
        joined = torch.cat([F.relu(model.a(x)), F.relu(model.b(x))], 1)
        return model.head(F.relu(model.mixed(joined)).mean((2, 3)))

    model = net(run, a=conv(3, 8), b=conv(3, 8), mixed=conv(16, 12, groups=2), head=nn.Linear(12, 5))
    assert {name: group.units for name, group in groups_of(model, image()).items()} == {"mixed": 5}


def test_blocks_and_stages_share_a_sparsity() -> None:
    by_layer, by_stage = zoo_groups("resnet18"), zoo_groups("resnet18", "stage")
    assert list(by_stage) == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert by_stage["layer1"].layers == ("layer1.0.conv1", "layer1.1.conv1")
    assert sum(group.size for group in by_stage.values()) == sum(group.size for group in by_layer.values())
    assert sum(group.units or 0 for group in by_stage.values()) == sum(group.units or 0 for group in by_layer.values())
    assert list(zoo_groups("resnet18", "block"))[:3] == ["conv1", "layer1.0", "layer1.1"]


def test_blocks_of_weights() -> None:
    groups, sizes = weight_groups(ZOO["resnet18"].build(), "stage")
    assert [group.name for group in groups] == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert [group.units for group in groups] == [None] * 6
    assert sum(group.size for group in groups) == sum(sizes.values())


@pytest.mark.parametrize("name", ZOO)
def test_groups_come_in_the_order_of_the_model_and_share_no_layer(name: str) -> None:
    model, example = ZOO[name].build().eval(), ZOO[name].example()
    if name == "two_inputs":
        pytest.skip("nothing of it can go")
    order = [layer for layer, _ in model.named_modules()]
    with untouched(model):
        groups, found = filter_groups(model, example, "layer")
    layers = [layer for group in groups for layer in group.layers]
    assert len(set(layers)) == len(layers)
    assert [order.index(group.layers[0]) for group in groups] == sorted(
        order.index(group.layers[0]) for group in groups
    )
    assert all(group.units is not None and group.units >= 1 for group in groups)
    assert [group.name for group in groups] == [each.layers[0] for each in found.channels]
    assert filter_groups(copy.deepcopy(model), example, "layer")[0] == groups


def test_a_model_of_which_nothing_can_go_says_why() -> None:
    with pytest.raises(UsageError, match=r"no filter can be removed \(image.0.0: its channels can not be followed"):
        removable(ZOO["two_inputs"].build(), ZOO["two_inputs"].example())
    with pytest.raises(UsageError, match=r"\(0: reaches the output of the model\); expected .* such as level"):
        removable(chain(nn.Linear(3, 2)), torch.zeros(1, 3))
    with pytest.raises(UsageError, match="it calls no convolution and no linear layer"):
        removable(chain(nn.BatchNorm1d(3)), torch.zeros(2, 3))
    with pytest.raises(UsageError, match="without a layer that can be pruned"):
        weight_groups(chain(nn.BatchNorm1d(3)), "layer")


def test_a_model_that_is_itself_a_layer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"itself a layer, Linear; expected .* nn.Sequential\(layer\)"):
        weight_groups(nn.Linear(2, 2), "layer")
    groups, _ = weight_groups(nn.Sequential(nn.Linear(2, 2)), "layer")
    assert [group.name for group in groups] == ["0"]
