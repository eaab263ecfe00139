"""What all pruners that score by data share: no trace, nesting, and mistakes that are said."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.torch import (
    ActivationAPoZRankPruner,
    ActivationMeanRankPruner,
    TaylorFOWeightPruner,
    WandaPruner,
)
from autoprune.errors import UsageError
from tests.compression.loops import epoch, images, scores

Train = Callable[..., None]
NONE: dict[str, Any] = {"batches": []}
SCORERS = [ActivationAPoZRankPruner, ActivationMeanRankPruner, TaylorFOWeightPruner, WandaPruner]


def build(kind: type[Any], net: nn.Module, sparsity: float, data: list[tuple[Tensor, Tensor]]) -> Any:
    entries = [{"sparsity": sparsity, "op_types": ["Conv2d", "Linear"]}]
    return kind(net, entries, batches=data, loss=F.cross_entropy)


@pytest.mark.parametrize("kind", SCORERS)
def test_scoring_changes_nothing_but_the_masked_weights(kind: type[Any], net: Any, train: Train) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    train(net, optimizer)
    net.act.eval()
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict(), [each.training for each in net.modules()]))
    random_before = torch.get_rng_state()
    entries = [{"sparsity": 0.5, "op_types": ["Conv2d", "Linear"]}]
    pruner = kind(net, entries, epoch(images(3)), optimizer, F.cross_entropy, training_batches=2)
    torch.set_rng_state(random_before)
    _, masks = pruner.compress()
    assert torch.equal(torch.get_rng_state(), random_before)
    for name, value in net.state_dict().items():
        layer, _, parameter = name.rpartition(".")
        keep = masks.get(layer, {}).get(parameter, torch.tensor(True))
        assert torch.equal(value, torch.where(keep, before[0][name], torch.zeros_like(value)))
    for old, new in zip(before[1]["state"].values(), optimizer.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(old[key], new[key]) for key in old)
    assert [each.training for each in net.modules()] == before[2]
    assert not any(value.requires_grad for value in scores(pruner).values())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("kind", SCORERS)
def test_masks_nest_along_a_rising_schedule(kind: type[Any], net: Any, train: Train) -> None:
    pruner = build(kind, net, 0.75, images(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    before: dict[str, dict[str, Tensor]] = {}
    for sparsity in (0.25, 0.5, 0.75):
        pruner.prune([replace(budget, sparsity=sparsity) for budget in pruner.plan()])
        for name, layer in before.items():
            assert not bool((pruner.masks[name]["weight"] & ~layer["weight"]).any())
        before = pruner.masks
        train(net, optimizer, steps=2)
    assert float(before["fc"]["weight"].float().mean()) == pytest.approx(1 - pruned(kind))


def pruned(kind: type[Any]) -> float:
    """Of ten rows, seven; of 96 weights in each row, 72."""
    return 0.75 if kind is WandaPruner else 0.7


@pytest.mark.parametrize("kind", SCORERS)
def test_compressing_twice_keeps_the_masks(kind: type[Any], net: Any) -> None:
    pruner = build(kind, net, 0.5, images(2))
    _, first = pruner.compress()
    _, second = pruner.compress()
    assert all(torch.equal(first[name]["weight"], second[name]["weight"]) for name in first)


@pytest.mark.parametrize("kind", SCORERS)
def test_a_model_in_bfloat16(kind: type[Any], net: Any) -> None:
    data = [(inputs.bfloat16(), target) for inputs, target in images(2)]
    _, masks = build(kind, net.bfloat16(), 0.5, data).compress()
    assert float(masks["conv1"]["weight"].float().mean()) == 0.5


@pytest.mark.parametrize("kind", SCORERS)
def test_a_pruner_without_a_model_takes_it_when_called(kind: type[Any], net: Any) -> None:
    entries = [{"sparsity": 0.5, "op_types": ["Linear"]}]
    model, masks = kind(entries, batches=images(1), loss=F.cross_entropy)(net)
    assert model is net
    assert list(masks) == ["fc"]


@pytest.mark.parametrize("kind", [ActivationAPoZRankPruner, ActivationMeanRankPruner, WandaPruner])
def test_layers_that_no_batch_reaches_are_named(kind: type[Any]) -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle, self.spare = (nn.Linear(2, 2) for _ in range(3))

        def forward(self, value: Tensor) -> Tensor:
            out: Tensor = self.used(value)
            return out

    with pytest.raises(UsageError, match=r"never reaches the layers 'idle', 'spare'; .*exclude them"):
        kind(Idle(), [{"sparsity": 0.5}], batches=[torch.randn(3, 2)]).compress()


@pytest.mark.parametrize(
    ("kind", "entry", "more", "said"),
    [
        (ActivationAPoZRankPruner, {}, {}, "ActivationAPoZRankPruner: given no data; expected trainer, optimizer"),
        (WandaPruner, {}, {"trainer": epoch([])}, "WandaPruner: given a trainer without an optimizer"),
        (WandaPruner, {}, {**NONE, "training_batches": 0}, "training_batches: given 0; expected a whole number, 1"),
        (WandaPruner, {}, {**NONE, "training_batches": 1.5}, "training_batches: given 1.5"),
        (ActivationMeanRankPruner, {"granularity": "element"}, NONE, "given 'element'; expected filter"),
        (ActivationMeanRankPruner, {"activation": "tanh"}, NONE, "given 'tanh'; expected one of relu, relu6, gelu"),
        (ActivationMeanRankPruner, {}, {**NONE, "activation": ["relu"]}, "activation: given"),
        (WandaPruner, {"op_types": ["BatchNorm2d"]}, NONE, "a type that it applies to"),
        (ActivationAPoZRankPruner, {"op_types": ["ReLU"]}, NONE, "a type that it applies to"),
        (WandaPruner, {"allocation": "global"}, NONE, "the allocation global with per_filter"),
    ],
)
def test_mistakes_are_said_when_the_pruner_is_built(
    net: Any, kind: type[Any], entry: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        kind(net, [{"sparsity": 0.5, **entry}], **more)


def test_a_generator_serves_one_scoring(net: Any) -> None:
    def generate() -> Iterator[Tensor]:
        yield from (inputs for inputs, _ in images(2))

    pruner = WandaPruner(net, [{"sparsity": 0.5}], batches=generate())
    pruner.compress()
    with pytest.raises(UsageError, match=r"WandaPruner.batches: given 0 batches"):
        pruner.compress()


@pytest.mark.parametrize("kind", [ActivationAPoZRankPruner, ActivationMeanRankPruner, TaylorFOWeightPruner])
def test_the_printed_samples(kind: type[Any]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.ReLU(), nn.Flatten(), nn.Linear(360, 10))
    trainer, optimizer = epoch(images(3)), torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    config_list = [{"sparsity": 0.8, "op_types": ["BatchNorm2d"]}]
    pruner = kind(model, config_list, trainer, optimizer, criterion, training_batches=20)
    masked_model, masks = pruner.compress()
    assert masked_model is model
    assert {name: int(keep.sum()) for name, keep in masks["1"].items()} == {"weight": 2, "bias": 2}
