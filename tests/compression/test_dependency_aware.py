"""Layers that go together: found from an example input, and pruned as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.torch import (
    ActivationAPoZRankPruner,
    ActivationMeanRankPruner,
    AGPPruner,
    FPGMPruner,
    L1NormPruner,
    L2NormPruner,
    Pruner,
    SparsePruner,
    TaylorFOWeightPruner,
    compaction,
    speedup,
)
from autoprune.compression.torch.pruners._data_driven import DataDrivenPruner
from autoprune.errors import UsageError
from tests.compression.coupled_nets import (
    CONVOLUTIONS,
    IMAGE,
    ConcatAdd,
    Residual,
    agree,
    aware,
    built,
    chain,
    equal,
    gone,
    norms,
    smallest,
)
from tests.compression.loops import dropped
from tests.compression.zoo import ZOO

HEADS = {
    "resnet18": "fc",
    "resnext": "fc",
    "mobilenet_v2": "classifier.2",
    "densenet": "head.2",
    "inception": "head.2",
    "unet_groupnorm": "out",
    "squeeze_excite": "head.2",
}
"""The layers whose output is that of the net."""
MODES = ("uniform", "erk", "dependency_aware")


def test_layers_that_are_added_lose_the_same_filters_by_the_sum_of_their_norms() -> None:
    net = built(Residual)
    expected = smallest(norms(net, "stem") + norms(net, "second"), 4)
    alone = smallest(norms(net, "first"), 3)
    _, masks = L1NormPruner(
        net, [{"sparsity": 0.5, **CONVOLUTIONS}], dependency_aware=True, dummy_input=IMAGE
    ).compress()
    assert (gone(masks, "stem"), gone(masks, "second"), gone(masks, "first")) == (expected, expected, alone)
    for name, channels in (("stem", expected), ("bn0", expected), ("bn2", expected), ("first", alone), ("bn1", alone)):
        assert dropped(masks[name]["bias"]) == channels
    assert dropped(masks["fc"]["weight"].T) == expected
    assert dropped(masks["first"]["weight"].any(0)) == expected


def test_a_layer_whose_first_channels_go_with_one_and_the_rest_with_another() -> None:
    """Each part loses half, though all that is in the first is smaller than all in the second."""
    net = built(ConcatAdd)
    for name in ("left", "whole"):
        net.get_submodule(name).get_parameter("weight").data[:4] *= 0.01
    whole = norms(net, "whole")
    left = smallest(whole[:4] + norms(net, "left"), 2)
    right = smallest(whole[4:] + norms(net, "right"), 3)
    masks = aware(net, 0.5, op_names=["left", "right", "whole"])
    assert gone(masks, "left") == left
    assert gone(masks, "right") == right
    assert gone(masks, "whole") == [*left, *(4 + channel for channel in right)]


def test_a_depthwise_convolution_follows() -> None:
    net = chain(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1))
    expected = smallest(norms(net, "0") + norms(net, "3"), 4)
    masks = aware(net, 0.5)
    assert gone(masks, "0") == gone(masks, "3") == expected


def test_grouped_convolutions_lose_as_many_in_each_group() -> None:
    """The smallest filters of both layers are all in one group; the producer and the layer itself lose two of each."""
    net = chain(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU())
    for name in ("0", "2"):
        net.get_submodule(name).get_parameter("weight").data.mul_(
            torch.tensor([1, 2, 3, 4, 5, 6, 7, 8.0]).view(8, 1, 1, 1)
        )
    masks = aware(net, 0.5)
    assert [[channel // 4 for channel in gone(masks, name)] for name in ("0", "2")] == [[0, 0, 1, 1]] * 2
    assert agree(net, masks, IMAGE)
    small = speedup(net, masks, IMAGE)
    shapes = [tuple(small.get_submodule(name).get_parameter("weight").shape[:2]) for name in ("0", "2")]
    assert shapes == [(4, 3), (4, 2)]


class ConcatGrouped(nn.Module):
    """The second group of the convolution has channels of both layers before it."""

    def __init__(self) -> None:
        super().__init__()
        self.six, self.two = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 2, 3)
        self.grouped, self.last = nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> Any:
        return self.last(torch.relu(self.grouped(torch.cat([self.six(image), self.two(image)], dim=1))))


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.75, 0.9])
def test_groups_that_several_layers_feed_lose_as_many(sparsity: float) -> None:
    net = built(ConcatGrouped)
    masks = aware(net, sparsity)
    lost = [*gone(masks, "six"), *(6 + channel for channel in gone(masks, "two"))]
    assert len([channel for channel in lost if channel < 4]) == len(lost) / 2 <= 4 * sparsity
    assert len(lost) == (0 if sparsity < 0.5 else 4)
    assert agree(net, masks, IMAGE) or not lost


def test_groups_of_a_group_norm_go_whole() -> None:
    net = chain(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8))
    scores = norms(net, "0").view(4, 2).sum(1)
    expected = sorted(channel for group in smallest(scores, 2) for channel in (2 * group, 2 * group + 1))
    assert gone(aware(net, 0.5), "0") == expected


def test_one_group_of_a_group_norm_binds_nothing() -> None:
    net = chain(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8))
    expected = smallest(norms(net, "0"), 4)
    assert gone(aware(net, 0.5), "0") == expected


@pytest.mark.parametrize("name", ["vit", "vit_separate"])
def test_heads_go_whole(name: str) -> None:
    net, example = ZOO[name].build().eval(), ZOO[name].example()
    packed = name == "vit"
    layers = ["qkv"] if packed else ["q", "k", "v"]
    parts = [norms(net, f"blocks.0.attn.{layer}").view(-1, 4, 8) for layer in layers]
    expected = smallest(torch.cat(parts).sum((0, 2)), 2)
    masks = aware(net, 0.5, example)
    for layer in layers:
        kept = masks[f"blocks.0.attn.{layer}"]["weight"].any(1).view(-1, 4, 8)
        assert bool((kept.all(2) == kept.any(2)).all())
        assert all(dropped(part) == expected for part in kept)
    assert agree(net, masks, example)
    small = speedup(net, masks, example)
    assert small.get_submodule("blocks.0.attn").__dict__["num_heads"] == 2


def test_batch_norms_that_are_added_are_pruned_together_with_what_they_scale() -> None:
    net = built(Residual)
    scores = [net.get_submodule(name).get_parameter("weight").detach().abs() for name in ("bn0", "bn2")]
    expected = smallest(scores[0] + scores[1], 4)
    entry = {"sparsity": 0.5, "op_types": ["BatchNorm2d"], "mode": "dependency_aware"}
    _, masks = L1NormPruner(net, [entry], dummy_input=IMAGE).compress()
    assert dropped(masks["bn0"]["weight"]) == dropped(masks["bn2"]["bias"]) == expected
    assert gone(masks, "stem") == gone(masks, "second") == expected
    assert agree(net, masks, IMAGE)


@pytest.mark.parametrize("sparsity", [0.3, 0.5])
@pytest.mark.parametrize("name", HEADS)
def test_all_that_is_pruned_can_be_removed_but_what_reaches_the_output(name: str, sparsity: float) -> None:
    net, example = ZOO[name].build().eval(), ZOO[name].example()
    made = compaction(speedup(net, aware(net, sparsity, example), example))
    assert {each.layer for each in made.staying} <= {HEADS[name]}


@pytest.mark.parametrize(
    "kind", [L2NormPruner, FPGMPruner, ActivationAPoZRankPruner, ActivationMeanRankPruner, TaylorFOWeightPruner]
)
def test_every_filter_pruner_can(kind: type[Pruner]) -> None:
    net = built(Residual)
    data = [(torch.randn(4, 3, 12, 12), torch.randint(4, (4,))) for _ in range(2)]
    given: dict[str, Any] = {"batches": data} if issubclass(kind, DataDrivenPruner) else {}
    given |= {"loss": nn.functional.cross_entropy} if kind is TaylorFOWeightPruner else {}
    pruner: Any = kind
    entry = {"sparsity": 0.5, **CONVOLUTIONS}
    made = pruner(net, [entry], dependency_aware=True, dummy_input=IMAGE, **given)
    _, masks = made.compress()
    assert gone(masks, "stem") == gone(masks, "second")
    assert [len(gone(masks, name)) for name in ("stem", "first", "second")] == [4, 3, 4]
    assert agree(net, masks, IMAGE)
    assert equal(made.compress()[1], masks)


def test_groups_that_are_said_win() -> None:
    net = built(Residual)
    expected = smallest(norms(net, "stem"), 4)
    pruner = L1NormPruner(
        net, [{"sparsity": 0.5, **CONVOLUTIONS}], mode="dependency_aware", groups=[["first"]], dummy_input=IMAGE
    )
    assert gone(pruner.compress()[1], "stem") == expected


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.floats(0, 0.99), st.integers(1, 20), st.sampled_from(["uniform", "erk", "dependency_aware"])
)
def test_what_stays_is_a_multiple(filters: int, sparsity: float, multiple: int, mode: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, filters, 1), nn.Conv2d(filters, 5, 1))
    entry = {"sparsity": sparsity, "op_names": ["0"], "mode": mode, "round_to": multiple}
    asked = {**entry, "round_to": 1}
    if mode == "erk" and sparsity > 1 - 1 / filters:
        return
    count, least = (
        filters - len(gone(L1NormPruner(net, [each], dummy_input=torch.randn(1, 3, 4, 4)).compress()[1], "0"))
        for each in (entry, asked)
    )
    assert count == filters or (count % multiple == 0 and least <= count < least + multiple)
    assert count >= least


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 0.95), st.integers(1, 12))
def test_what_stays_is_a_multiple_of_every_layer_of_a_group(sparsity: float, multiple: int) -> None:
    """Eight channels in two groups that lose as many; heads of eight rows, three times of the packed layer."""
    net = chain(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2))
    masks = aware(net, sparsity, round_to=multiple, op_names=["0", "2"])
    for name in ("0", "2"):
        lost = [channel // 4 for channel in gone(masks, name)]
        assert lost.count(0) == lost.count(1)
        assert not lost or (8 - len(lost)) % multiple == 0
        assert len(lost) <= 8 * sparsity
    vit, example = ZOO["vit"].build().eval(), ZOO["vit"].example()
    lost = gone(aware(vit, sparsity, example, round_to=multiple, op_names=["blocks.0.attn.qkv"]), "blocks.0.attn.qkv")
    assert len(lost) % 24 == 0
    assert not lost or (96 - len(lost)) % multiple == 0


@pytest.mark.parametrize(("multiple", "heads"), [(1, 2), (16, 2), (24, 2), (7, 0), (48, 2)])
def test_heads_are_rounded_by_their_rows(multiple: int, heads: int) -> None:
    """Four heads of 24 rows: without two of them 48 are left."""
    net, example = ZOO["vit"].build().eval(), ZOO["vit"].example()
    masks = aware(net, 0.5, example, round_to=multiple, op_names=["blocks.0.attn.qkv"])
    assert len(gone(masks, "blocks.0.attn.qkv")) == 24 * heads


def test_rounded_masks_of_a_schedule_nest() -> None:
    net = built(Residual)
    entry = {"final_sparsity": 0.9, "end_epoch": 8, "round_to": 2, **CONVOLUTIONS}
    pruner = AGPPruner(net, [entry], pruning_algorithm="l1_norm", mode="dependency_aware", dummy_input=IMAGE)
    before = gone(pruner.compress()[1], "stem")
    for epoch in range(1, 9):
        pruner.update_epoch(epoch)
        now = gone(pruner.masks, "stem")
        assert set(before) <= set(now)
        assert len(now) % 2 == 0
        before = now
    assert len(before) == 6


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sparsity": 0.5, "round_to": 0}, "whole number, 1 or more"),
        ({"sparsity": 0.5, "round_to": True}, "whole number, 1 or more"),
        ({"sparsity": 0.5, "round_to": 4, "granularity": "element"}, "element with round_to; expected the granularity"),
        ({"total_sparsity": 0.5, "round_to": 4}, "the allocation global with round_to; expected uniform, erk or dep"),
    ],
)
def test_where_nothing_can_be_rounded(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        L1NormPruner(built(Residual), [entry])


def test_mistakes() -> None:
    net = built(Residual)
    half = [{"sparsity": 0.5, **CONVOLUTIONS}]
    with pytest.raises(UsageError, match=r"without groups; expected dummy_input=.*or groups=\[\[...\], ...\]"):
        L1NormPruner(net, half, dependency_aware=True)
    with pytest.raises(UsageError, match="dependency_aware: given 'yes'; expected true or false"):
        L1NormPruner(net, half, dependency_aware="yes")  # type: ignore[arg-type]
    entries = [*half, {"sparsity": 0.25, "op_names": ["second"]}]
    with pytest.raises(
        UsageError, match=r"different sparsities, 'stem' .0\.5., 'second' .0\.25.; expected one sparsity"
    ):
        L1NormPruner(net, entries, dependency_aware=True, dummy_input=IMAGE)
    with pytest.raises(UsageError, match=r"L1NormPruner\.dummy_input: given 3; expected a tensor, a tuple"):
        L1NormPruner(net, half, dummy_input=3)
    with pytest.raises(UsageError, match="does not run on the example input"):
        L1NormPruner(net, half, dummy_input=torch.randn(2, 5, 12, 12))
    with pytest.raises(UsageError, match="given a dummy_input; expected none"):
        SparsePruner(net, [{"density": 0.5}], growth="random", redistribution="none", dummy_input=IMAGE)
    assert equal(L1NormPruner(net, half, dependency_aware=False).compress()[1], L1NormPruner(net, half).compress()[1])


def test_layers_of_a_group_on_different_schedules() -> None:
    """Where they differ only later, the pruner says so then, and the model stays as it is."""
    net = built(Residual)
    ends = [{"final_sparsity": 0.5, "end_epoch": end, "granularity": "filter"} for end in (2, 4)]
    entries = [{**ends[0], "op_names": ["stem"]}, {**ends[1], "op_names": ["second"]}]
    pruner = AGPPruner(net, entries, mode="dependency_aware", dummy_input=IMAGE)
    before = pruner.compress()[1]
    with pytest.raises(UsageError, match=r"'stem' .0\.4375 of 0\.5., 'second' .0\.2891 of 0\.5."):
        pruner.update_epoch(1)
    assert equal(pruner.masks, before)
