"""Smaller models by hand: which channels go, which stay and why, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import speedup
from tests.compression.compacting import (
    chain,
    compact,
    conv,
    image,
    losing,
    masks_of,
    net,
    staying,
    widths,
    without,
)
from tests.compression.recount import shapes
from tests.compression.zoo import ZOO

# Which channels go


def test_layers_one_after_another_lose_what_any_of_them_masks() -> None:
    """A depthwise convolution passes its channels on: the union of both masks goes."""
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 8, groups=8), conv(8, 4))
    small = compact(model, losing(model, _0=[0, 1], _2=[1, 5]), image())
    assert widths(small) == {"0": 5, "2": 5, "3": 4}
    assert torch.equal(small[0].weight, model[0].weight[[2, 3, 4, 6, 7]])  # type: ignore[index]


def test_layers_that_are_added_lose_what_all_of_them_mask() -> None:
    model = net(lambda net, x: net.c(net.a(x) + net.b(x)), a=conv(3, 8), b=conv(3, 8), c=conv(8, 4))
    small: Any = compact(model, losing(model, a=[0, 1, 2], b=[1, 2, 3]), image())
    assert widths(small) == {"a": 6, "b": 6, "c": 4}
    assert staying(small) == {
        "a": ["goes with channels that b keeps"],
        "b": ["goes with channels that a keeps"],
    }
    assert torch.equal(small.a.weight[0], torch.zeros(3, 3, 3))


def test_layers_that_are_multiplied_lose_what_either_masks() -> None:
    model = net(lambda net, x: net.c(net.a(x) * net.b(x)), a=conv(3, 8), b=conv(3, 8), c=conv(8, 4))
    small = compact(model, losing(model, a=[0, 1, 2], b=[1, 2, 3]), image())
    assert widths(small) == {"a": 4, "b": 4, "c": 4}


def test_a_sum_with_a_product_in_it() -> None:
    """a + b·c: a channel goes where a masks it, and b or c does."""

    def add(net: Any, x: Tensor) -> Any:
        return net.d(net.a(x) + net.b(x) * net.c(x))

    model = net(add, a=conv(3, 8), b=conv(3, 8), c=conv(3, 8), d=conv(8, 4))
    small = compact(model, losing(model, a=[0, 1, 2, 3], b=[0, 4], c=[1, 5]), image())
    assert widths(small) == {"a": 6, "b": 6, "c": 6, "d": 4}


def test_a_norm_that_masks_a_channel_takes_the_filter_with_it() -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    keep = torch.tensor([True, False] * 4)
    assert widths(compact(model, {"1": {"weight": keep, "bias": keep}}, image())) == {"0": 4, "1": 4, "3": 4}


def test_a_norm_whose_shift_stays_keeps_its_channel() -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    with pytest.raises(CompressionError, match="nothing can be removed"):
        speedup(model, {"1": {"weight": torch.tensor([True, False] * 4)}}, image())


def test_columns_that_nobody_reads_take_what_gives_them() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 4))
    keep = torch.ones(4, 8, 3, 3, dtype=torch.bool)
    keep[:, :3] = False
    assert widths(compact(model, {"2": {"weight": keep}}, image())) == {"0": 5, "2": 4}


def test_a_flattened_channel_goes_with_all_its_columns() -> None:
    model = chain(conv(3, 8), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(32, 4))
    small: Any = compact(model, losing(model, _0=[1, 6]), image())
    assert shapes(small)["3.weight"] == (4, 24)
    assert torch.equal(small[3].weight, model[3].weight[:, [*range(4), *range(8, 24), *range(28, 32)]])


def test_groups_lose_as_many_channels_each() -> None:
    """Of the masked [0, 1, 2] and [4], each group of four gives one; of the outputs [0, 1] and [4, 5], two."""
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 8, groups=2), conv(8, 4))
    small: Any = compact(model, losing(model, _0=[0, 1, 2, 4], _2=[0, 1, 4, 5]), image())
    assert shapes(small)["2.weight"] == (4, 3, 3, 3)
    assert (small[2].in_channels, small[2].out_channels, small[2].groups) == (6, 4, 2)
    assert staying(small) == {"0": ["2 keeps as many channels in each of its 2 groups"]}


def test_a_group_goes_whole() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 12, groups=4), conv(12, 4))
    small: Any = compact(model, losing(model, _0=[2, 3], _2=[3, 4, 5]), image())
    assert (small[2].in_channels, small[2].out_channels, small[2].groups) == (6, 9, 3)
    assert torch.equal(small[2].weight, model[2].weight[[0, 1, 2, 6, 7, 8, 9, 10, 11]])


@pytest.mark.parametrize("kind", ["transposed", "transposed depthwise"])
def test_transposed_convolutions_with_groups(kind: str) -> None:
    groups, outputs = (8, 8) if "depthwise" in kind else (2, 12)
    model = chain(conv(3, 8), nn.ReLU(), nn.ConvTranspose2d(8, outputs, 2, 2, groups=groups), conv(outputs, 4))
    small = compact(model, masks_of(model, lambda count: range(0, count, 2), ["0", "2"]), image())
    assert widths(small)["0"] == 4


def test_a_depthwise_multiplier() -> None:
    model = chain(conv(3, 4), nn.ReLU(), conv(4, 8, groups=4), conv(8, 4))
    small: Any = compact(model, losing(model, _0=[1], _2=[2, 3]), image())
    assert (small[2].in_channels, small[2].out_channels, small[2].groups) == (3, 6, 3)


def test_groups_of_a_norm_go_whole() -> None:
    """Of four groups of two, [0, 1] and [6, 7] are masked, and half of [2, 3]."""
    model = chain(conv(3, 8), nn.GroupNorm(4, 8), nn.ReLU(), conv(8, 4))
    small: Any = compact(model, losing(model, _0=[0, 1, 2, 6, 7]), image())
    assert (small[1].num_groups, small[1].num_channels) == (2, 4)
    assert staying(small) == {"0": ["1 normalises whole groups of channels"]}


def test_a_norm_of_a_single_group_keeps_all() -> None:
    model = chain(conv(3, 8), nn.GroupNorm(1, 8), nn.ReLU(), conv(8, 4))
    with pytest.raises(CompressionError, match="4 of 0: 1 normalises whole groups of channels"):
        speedup(model, losing(model, _0=[0, 1, 2, 3]), image())


@pytest.mark.parametrize("name", ["vit", "vit_separate"])
def test_heads_go_whole(name: str) -> None:
    """The second and the fourth of four heads of eight, and half of the fifth to the third."""
    model: Any = ZOO[name].build().eval()
    heads = [*range(8, 16), *range(24, 32), *range(16, 20)]
    thirds = [part * 32 + channel for part in range(3) for channel in heads]
    masks = {
        f"blocks.0.attn.{layer}": without(model.blocks[0].attn.get_submodule(layer), gone)
        for layer, gone in ((("qkv", thirds),) if name == "vit" else (("q", heads), ("k", heads), ("v", heads)))
    }
    small: Any = compact(model, masks, ZOO[name].example())
    assert [block.attn.num_heads for block in small.blocks] == [2, 4]
    assert small.blocks[0].attn.proj.in_features == 16
    assert {reason for reasons in staying(small).values() for reason in reasons} == {
        "blocks.0.attn loses whole heads only"
    }


def test_no_layer_loses_all() -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    small = compact(model, losing(model, _0=list(range(8))), image())
    assert widths(small) == {"0": 1, "1": 1, "3": 4}
    assert staying(small) == {"0": ["3 keeps one channel at least"]}


def test_no_side_of_a_layer_is_emptied_where_everything_is_masked() -> None:
    for name in ("resnet18", "densenet", "unet_groupnorm", "mobilenet_v2", "resnext", "inception"):
        model = ZOO[name].build().eval()
        small = compact(model, masks_of(model, range), ZOO[name].example())
        assert all(size > 0 for shape in shapes(small).values() for size in shape), name


# Exactness


def test_statistics_and_shifts_of_norms_far_from_nothing() -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.Sigmoid(), conv(8, 8), nn.BatchNorm2d(8), nn.Softplus(), conv(8, 4))
    with torch.no_grad():
        for norm in (model[1], model[4]):
            norm.running_mean.uniform_(-30, 30)
            norm.running_var.uniform_(0.01, 9)
            norm.bias.uniform_(-5, 5)
    compact(model, masks_of(model), image(), image(size=11))


@pytest.mark.parametrize(
    "act", [nn.Sigmoid(), nn.Softplus(), nn.Hardsigmoid(), nn.ELU(), nn.CELU(), nn.GELU(), nn.Tanh()]
)
def test_activations_of_nothing_before_padding(act: nn.Module) -> None:
    model = chain(conv(3, 8), act, conv(8, 8), act, nn.AvgPool2d(3, 2, 1), conv(8, 4))
    compact(model, masks_of(model), image())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision(dtype: torch.dtype) -> None:
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4)).to(dtype)
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}[dtype]
    small = compact(model, masks_of(model), image().to(dtype), tolerance=tolerance)
    assert {value.dtype for value in small.parameters()} == {dtype}


@st.composite
def _nets(draw: st.DrawFn) -> tuple[Any, dict[str, Any], Tensor]:
    """A chain of blocks that pass on, add, join or multiply, with random filters masked."""
    width = draw(st.integers(2, 5))
    kinds = draw(st.lists(st.sampled_from(["pass", "add", "cat", "mul", "group", "deep"]), min_size=1, max_size=4))
    act: nn.Module = draw(st.sampled_from([nn.ReLU(), nn.Sigmoid(), nn.GELU()]))
    layers: dict[str, nn.Module] = {"stem": conv(2, width)}
    for index, kind in enumerate(kinds):
        outputs = draw(st.integers(2, 5)) if kind in ("pass", "cat") else width
        inputs = width
        if kind == "group":
            outputs = inputs = width = width * 2
            layers[f"pre{index}"] = conv(width // 2, width)
        layers[f"norm{index}"] = nn.BatchNorm2d(width)
        groups = {"group": 2, "deep": inputs}.get(kind, 1)
        layers[f"conv{index}"] = conv(inputs, outputs, groups=groups)
        width = width + outputs if kind == "cat" else outputs
    layers["head"] = nn.Linear(width * 4, 3)

    def forward(net: Any, x: Tensor) -> Any:
        x = net.stem(x)
        for index, kind in enumerate(kinds):
            x = getattr(net, f"pre{index}")(x) if kind == "group" else x
            out = getattr(net, f"conv{index}")(act(getattr(net, f"norm{index}")(x)))
            if kind == "cat":
                x = torch.cat([out, x], 1)
            else:
                x = x + out if kind == "add" else x * out if kind == "mul" else out
        return net.head(F.adaptive_avg_pool2d(x, 2).flatten(1))

    model = net(forward, **layers)
    masks = {}
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            marks = draw(st.lists(st.booleans(), min_size=layer.out_channels, max_size=layer.out_channels))
            masks[name] = without(layer, [index for index, gone in enumerate(marks) if gone])
    return model, masks, image(2, 6)


@settings(max_examples=40, deadline=None)
@given(_nets())
def test_random_filters_of_random_nets(drawn: tuple[Any, dict[str, Any], Tensor]) -> None:
    model, masks, example = drawn
    try:
        small = compact(model, masks, example, image(2, 9))
    except CompressionError as error:
        assert "nothing can be removed" in str(error)  # noqa: PT017
    else:
        assert all(size > 0 for shape in shapes(small).values() for size in shape)
