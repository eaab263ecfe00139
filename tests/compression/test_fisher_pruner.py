"""Fisher: its formula and its rounds, by hand; what rounds are for."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from autoprune.compression.torch import (
    FisherPruner,
    LayerInfo,
    Masks,
    Pruner,
    ScheduledPruner,
    TaylorFOWeightPruner,
    achieved_sparsity,
    recalibrate_batchnorm,
)
from autoprune.errors import UsageError
from tests.compression.compacting import outputs
from tests.compression.loops import Batch, dropped, images
from tests.compression.zoo import ZOO

LAYERS = ("conv0", "conv1", "fc")
ALL = {"op_types": ["Conv2d", "Linear"]}
BUDGETS = [{"sparsity": 0.6}, {"total_sparsity": 0.9}, {"sparsity": 0.8, "allocation": "erk"}]


def fisher(model: nn.Module, entries: Any, data: Any = None, **more: Any) -> FisherPruner:
    pruner = FisherPruner(model, entries, batches=data or images(2, 8), loss=functional.cross_entropy, **more)
    assert isinstance(pruner, FisherPruner)
    return pruner


def kept(masks: Masks) -> list[int]:
    return [int(keep.sum()) for layer in masks.values() for keep in layer.values()]


def equal(one: Masks, other: Masks) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name]["weight"], other[name]["weight"]) for name in one)


def settled(net: nn.Module) -> nn.Module:
    """With statistics of some images."""
    for inputs, _ in images(10, 8):
        net(inputs)
    return net


def squares(model: nn.Module, data: list[Batch], rows: int) -> dict[str, Tensor]:
    """The sum of squared gradients of so many rows each, by autograd."""
    weights = {name: model.get_parameter(f"{name}.weight") for name in LAYERS}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    model.eval()
    for inputs, target in data:
        for start in range(0, len(target), rows):
            part = slice(start, start + rows)
            loss = functional.cross_entropy(model(inputs[part]), target[part])
            for name, gradient in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
                total[name] += gradient**2
    return total


def by_hand(model: nn.Module, data: list[Batch], rows: int, sparsity: float, rounds: int) -> dict[str, Tensor]:
    """What stays of one budget for all layers, pruned in rounds."""
    model = copy.deepcopy(model)
    stays = {name: torch.ones_like(model.get_parameter(f"{name}.weight"), dtype=torch.bool) for name in LAYERS}
    size = sum(each.numel() for each in stays.values())
    for number in range(1, rounds + 1):
        score = squares(model, data, rows)
        for name, keep in stays.items():
            score[name] *= model.get_parameter(f"{name}.weight").detach() ** 2
            score[name][~keep] = -1
        pruned = int(size * (1 - (1 - sparsity) ** (number / rounds)) + 1e-9)
        order = np.argsort(torch.cat([score[name].flatten() for name in LAYERS]).numpy(), kind="stable")
        left = torch.ones(size, dtype=torch.bool)
        left[torch.from_numpy(order[:pruned])] = False
        for name, part in zip(LAYERS, left.split([stays[name].numel() for name in LAYERS]), strict=True):
            stays[name] = part.view_as(stays[name])
            with torch.no_grad():
                model.get_parameter(f"{name}.weight").mul_(stays[name])
        recalibrate_batchnorm(model, data)
    return stays


@pytest.mark.parametrize(("rounds", "rows"), [(1, 1), (1, 3), (4, 1), (4, 4)])
def test_it_is_what_autograd_says_round_by_round(net: nn.Module, rounds: int, rows: int) -> None:
    data = images(3, 8)
    expected = by_hand(settled(net), data, rows, 0.8, rounds)
    masks = fisher(net, [{"total_sparsity": 0.8, **ALL}], data, rounds=rounds, rows=rows).compress()[1]
    assert list(masks) == list(LAYERS)
    for name, keep in expected.items():
        assert torch.equal(masks[name]["weight"], keep)


@pytest.mark.parametrize("budget", BUDGETS)
def test_one_round_is_the_squared_taylor_score_over_parts_of_batches(net: nn.Module, budget: dict[str, Any]) -> None:
    data = images(2, 8)
    parts = [part for batch in data for part in zip(*(tensor.split(4) for tensor in batch), strict=True)]
    settled(net).eval()
    entries = [{**budget, **ALL, "granularity": "element"}]
    taylor = TaylorFOWeightPruner(net, entries, batches=parts, loss=functional.cross_entropy)
    expected = taylor.compress()[1]
    taylor.unwrap()
    assert equal(fisher(net, entries, data, rounds=1).compress()[1], expected)


def test_gradients_that_cancel_out_over_a_batch_count_in_small_parts() -> None:
    """The loss is the mean of the output, so a row is its own gradient: 1 and -1 for one weight, 1/2 for the other."""
    data = [(torch.tensor([[1.0, 0.5], [-1.0, 0.5]]), torch.zeros(2))]
    found = {}
    for rows in (1, 2, None):
        layer = nn.Linear(2, 1, bias=False)
        nn.init.ones_(layer.weight)
        entries = [{"sparsity": 0.5}]
        pruner = FisherPruner(
            nn.Sequential(layer), entries, batches=data, loss=lambda output, _: output.mean(), rows=rows
        )
        pruner.compress()
        found[rows] = layer.weight.tolist()[0]
    assert found == {1: [1.0, 0.0], 2: [0.0, 1.0], None: [0.0, 1.0]}


class Watched(FisherPruner):
    """Remembers the masks that each round starts from."""

    seen: tuple[Masks, ...] = ()

    def prepare(self, layers: Sequence[LayerInfo]) -> None:
        self.seen = (*self.seen, self.masks)
        super().prepare(layers)


@pytest.mark.parametrize("rounds", [1, 2, 5, 9])
@pytest.mark.parametrize(("budget", "sparsity"), [({"sparsity": 0.6}, 0.6), ({"total_sparsity": 0.9}, 0.9)])
def test_the_density_falls_by_one_factor_and_masks_nest(
    net: nn.Module, budget: dict[str, float], sparsity: float, rounds: int
) -> None:
    data = images(1, 8)
    pruner = Watched(net, [{**budget, **ALL}], batches=data, loss=functional.cross_entropy, rounds=rounds)
    last = pruner.compress()[1]
    masks = [*pruner.seen, last]
    assert masks[0] == {}
    assert len(masks) == rounds + 1
    sizes = [36, 216, 960]
    for number, (earlier, later) in enumerate(pairwise(masks), 1):
        assert all(not bool((later[name]["weight"] & ~earlier[name]["weight"]).any()) for name in earlier)
        counts = [sum(kept(later))] if "total_sparsity" in budget else kept(later)
        totals = [sum(sizes)] if "total_sparsity" in budget else sizes
        for count, size in zip(counts, totals, strict=True):
            assert count == math.ceil(size * (1 - sparsity) ** (number / rounds) - 1e-6)


@settings(max_examples=40)
@given(st.floats(0, 0.96), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_as_many_as_asked_for_go_and_no_layer_is_emptied(sparsity: float, rounds: int, pooled: bool, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3))
    entries = [{"total_sparsity" if pooled else "sparsity": sparsity}]
    data = [(torch.randn(6, 4), torch.arange(6) % 3)]
    masks = fisher(model, entries, data, rounds=rounds).compress()[1]
    sizes = [63] if pooled else [36, 27]
    expected = [size - int(np.floor(size * sparsity + 1e-9)) for size in sizes]
    assert ([sum(kept(masks))] if pooled else kept(masks)) == expected
    assert min(kept(masks)) >= 1


def learn(model: nn.Module, data: list[Batch], steps: int) -> float:
    """Train on a batch by heart, and say the loss it ends with."""
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    loss = torch.tensor(math.nan)
    for inputs, target in data * steps:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), target)
        torch.autograd.backward(loss)
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_rounds_keep_a_wide_layer_that_one_round_all_but_empties(seed: int) -> None:
    """Of 4,096 weights between two layers of 512, each matters less than most of theirs, and all of them more."""
    torch.manual_seed(seed)
    wide = [nn.Linear(8, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.ReLU()]
    trained = nn.Sequential(*wide, nn.Linear(64, 8, bias=False))
    inputs = torch.randn(64, 8)
    data = [(inputs, inputs.argmax(1))]
    learn(trained, data, 60)
    loss, middle = {}, {}
    for rounds in (1, 10):
        model = copy.deepcopy(trained)
        middle[rounds] = kept(fisher(model, [{"total_sparsity": 0.97}], data, rounds=rounds).compress()[1])[1]
        loss[rounds] = learn(model, data, 40)
    assert middle[1] == 1
    assert middle[10] > 30
    assert loss[10] < loss[1] - 0.5


@pytest.mark.parametrize("training", [True, False])
def test_only_what_is_pruned_changes(net: nn.Module, training: bool) -> None:
    settled(net).train(training)
    optimizer = torch.optim.Adam(net.parameters())
    functional.cross_entropy(net(images(1, 8)[0][0]), torch.arange(8)).backward()
    gradients = {name: (each.grad, each.grad.clone()) for name, each in net.named_parameters() if each.grad is not None}
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict(), [each.training for each in net.modules()]))
    pruner = fisher(net, [{"total_sparsity": 0.9, **ALL}], optimizer=optimizer)
    random_before = torch.get_rng_state()
    _, masks = pruner.compress()
    assert torch.equal(torch.get_rng_state(), random_before)
    for name, value in net.state_dict().items():
        layer, _, parameter = name.rpartition(".")
        keep = masks.get(layer, {}).get(parameter, torch.tensor(True))
        assert torch.equal(value, torch.where(keep, before[0][name], torch.zeros_like(value)))
    for name, (held, value) in gradients.items():
        layer, _, parameter = name.rpartition(".")
        keep = masks.get(layer, {}).get(parameter, torch.tensor(True))
        assert net.get_parameter(name).grad is held
        assert torch.equal(held, torch.where(keep, value, torch.zeros_like(value)))
    assert optimizer.state_dict() == before[1]
    assert [each.training for each in net.modules()] == before[2]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_norms_use_their_statistics_in_training_too(net: nn.Module) -> None:
    data, twin = images(2, 8), copy.deepcopy(settled(net))
    found = [
        fisher(model, [{"total_sparsity": 0.9, **ALL}], data).compress()[1] for model in (net.train(), twin.eval())
    ]
    assert equal(*found)


def test_batches_are_read_once_for_all_rounds(net: nn.Module) -> None:
    taken = []

    def generate() -> Any:
        for batch in images(5, 8):
            taken.append(batch)
            yield batch

    pruner = fisher(net, [{"sparsity": 0.5, **ALL}], generate(), training_batches=3)
    pruner.compress()
    assert len(taken) == 3
    rest = fisher(copy.deepcopy(net), [{"sparsity": 0.5, **ALL}], iter([]))
    with pytest.raises(UsageError, match=r"FisherPruner.batches: given 0 batches; .* gives its batches once; pass"):
        rest.compress()


@pytest.mark.parametrize(("rows", "gradients", "sizes"), [(4, 3, [4, 4, 1]), (5, 9, [5, 4, 5, 4]), (None, 1, [9])])
def test_so_many_gradients_of_so_many_rows_score_in_each_round(
    net: nn.Module, rows: int | None, gradients: int, sizes: list[int]
) -> None:
    seen: list[int] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.append(len(target))
        return functional.cross_entropy(output, target)

    data, entries = images(2, 9), [{"sparsity": 0.5, **ALL}]
    FisherPruner(net, entries, batches=data, loss=loss, rounds=3, rows=rows, gradients=gradients).compress()
    assert seen == sizes * 3


def test_the_same_again(net: nn.Module) -> None:
    data = torch.utils.data.TensorDataset(*(torch.cat(part) for part in zip(*images(4, 8), strict=True)))
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(fisher(copy.deepcopy(net), [{"total_sparsity": 0.9, **ALL}], loader).compress()[1])
    assert equal(*found)


def test_pruned_weights_stay_pruned_when_compressed_again(net: nn.Module, train: Any) -> None:
    pruner = fisher(net, [{"total_sparsity": 0.6, **ALL}])
    first = pruner.compress()[1]
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert equal(pruner.compress()[1], first)
    scheduled = ScheduledPruner(fisher(net, [{"total_sparsity": 0.9, **ALL}]), "linear", total_iteration=3)
    later = scheduled.compress()[1]
    assert sum(kept(later)) == 1212 - 1090
    assert all(not bool((later[name]["weight"] & ~first[name]["weight"]).any()) for name in first)


class Breaking:
    """A loss that is not a number from some call on."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        self.left -= 1
        return functional.cross_entropy(output, target) * (1 if self.left >= 0 else float("nan"))


@pytest.mark.parametrize("before", [None, 0.4])
def test_an_error_in_a_later_round_leaves_the_model_as_it_was(net: nn.Module, before: float | None) -> None:
    settled(net)
    dense = copy.deepcopy(net.state_dict())
    loss = Breaking(10**6)
    pruner = FisherPruner(net, [{"total_sparsity": 0.9, **ALL}], batches=images(1, 8), loss=loss)
    if before is not None:
        budgets = pruner.plan()
        pruner.prune([replace(each, sparsity=before) for each in budgets])
    masks, values = pruner.masks, copy.deepcopy(net.state_dict())
    loss.left = 5
    with pytest.raises(UsageError, match="scores with NaN for layer 'conv0'"):
        pruner.compress()
    assert equal(pruner.masks, masks)
    assert all(torch.equal(value, values[name]) for name, value in net.state_dict().items())
    pruner.unwrap()
    assert all(torch.equal(value, dense[name]) for name, value in net.state_dict().items())


def test_whole_filters_go_in_rounds_too(net: nn.Module) -> None:
    entries = [{"sparsity": 0.5, "granularity": "filter", "op_types": ["Conv2d"]}]
    masks = fisher(net, entries).compress()[1]
    assert [len(dropped(layer["weight"])) for layer in masks.values()] == [2, 3]


NETS = ["vgg", "resnet18", "mobilenet_v2", "unet_groupnorm", "vit", "lstm", "conv1d", "shared_conv", "tied_embedding"]


@pytest.mark.parametrize("name", NETS)
def test_networks_of_many_families(name: str) -> None:
    def loss(output: Any, _: Any) -> Tensor:
        return torch.stack([part.square().mean() for part in outputs(output)]).sum()

    for budget in ({"sparsity": 0.75}, {"total_sparsity": 0.95}):
        model = ZOO[name].build().eval()
        before = {path: buffer.clone() for path, buffer in model.named_buffers()}
        entries = [{**budget, "op_types": ["default"]}]
        pruner: Pruner = FisherPruner(model, entries, batches=[(ZOO[name].example(), None)] * 2, loss=loss, rounds=3)
        masks = pruner.compress()[1]
        assert min(kept(masks)) >= 1
        asked = next(iter(budget.values()))
        assert achieved_sparsity(masks) <= asked
        assert achieved_sparsity(masks) == pytest.approx(asked, abs=0.02)
        assert all(torch.equal(buffer, before[path]) for path, buffer in model.named_buffers())
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"trainer": lambda model, optimizer, criterion: None}, "FisherPruner: given a trainer"),
        ({"batches": [], "rounds": 0}, "rounds: given 0; expected a whole number, 1 or more"),
        ({"batches": [], "gradients": 2.5}, r"gradients: given 2\.5; expected a whole number"),
        ({"batches": [], "rows": 0}, "rows: given 0; expected a whole number, 1 or more"),
        ({"batches": [], "loss": None}, "FisherPruner: given batches without a loss"),
        ({}, "FisherPruner: given no data"),
    ],
)
def test_mistakes_are_said_when_the_pruner_is_built(net: nn.Module, more: dict[str, Any], said: str) -> None:
    optimizer = {"optimizer": torch.optim.SGD(net.parameters(), lr=0.1)} if "trainer" in more else {}
    loss = {} if "trainer" in more or not more else {"loss": functional.cross_entropy}
    with pytest.raises(UsageError, match=said):
        FisherPruner(net, [{"sparsity": 0.5}], **{**loss, **optimizer, **more})
