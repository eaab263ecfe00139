"""Sparse momentum: what goes, how many grow where, and that their number stays; by hand and by numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch import LevelPruner, SparsePruner
from autoprune.errors import UsageError

HALF = [{"density": 0.5}]


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return layer


def two_layers(
    momentum: list[Tensor] | None = None, density: float = 0.5, **changes: Any
) -> tuple[nn.Module, SparsePruner]:
    """16 and 16 weights, half of each in use, with the momentum given."""
    model = nn.Sequential(nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for layer, values in zip(model, momentum or [], strict=momentum is not None):
        optimizer.state[layer.weight]["momentum_buffer"] = values.view_as(layer.weight)
    pruner = SparsePruner(model, [{"density": density}], optimizer, **changes)
    pruner.compress()
    return model, pruner


def values(model: nn.Module) -> list[np.ndarray]:
    return [layer.weight.detach().numpy().ravel().copy() for layer in model]


def kept(pruner: SparsePruner) -> list[np.ndarray]:
    return [layer["weight"].numpy().ravel().copy() for layer in pruner.masks.values()]


def in_use(pruner: SparsePruner) -> int:
    return sum(int(layer["weight"].sum()) for layer in pruner.masks.values())


def lowest(scores: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    marks = np.zeros(scores.size, dtype=bool)
    marks[np.argsort(np.where(among, scores, np.inf), kind="stable")[:count]] = True
    return marks


def test_starts_at_its_density_by_chance(net: nn.Module) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner = SparsePruner(net, [{"density": 0.1}, {"density": 0.3, "op_names": ["conv1"]}], optimizer)
    _, masks = pruner.compress()
    counts = {name: int(layer["weight"].sum()) for name, layer in masks.items()}
    assert counts == {"conv0": 36 - 32, "conv1": 216 - 151, "fc": 960 - 864}
    for name, value in net.state_dict().items():
        mask = masks.get(name.rpartition(".")[0], {}).get(name.rpartition(".")[2])
        assert torch.equal(value, before[name] if mask is None else before[name] * mask)
    magnitude = before["fc.weight"].abs()
    assert not torch.equal(masks["fc"]["weight"], magnitude >= magnitude.flatten().topk(96).values.min())


def test_the_start_goes_by_the_seed_of_torch() -> None:
    def start(seed: int) -> Tensor:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(20, 20))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return SparsePruner(model, HALF, optimizer).compress()[1]["0"]["weight"]

    assert torch.equal(start(3), start(3))
    assert not torch.equal(start(3), start(4))


def test_sparsity_says_what_density_says(net: nn.Module) -> None:
    optimizer = torch.optim.Adam(net.parameters())
    for entry in ({"density": 0.29}, {"sparsity": 0.71}, {"sparsity_per_layer": 0.71}):
        pruner = SparsePruner(net, [{**entry, "op_names": ["fc"]}], optimizer)
        assert int(pruner.compress()[1]["fc"]["weight"].sum()) == 960 - math.floor(960 * 0.71 + 1e-9)
        pruner.unwrap()


def test_one_update_by_numpy() -> None:
    """Half of 8 and of 8 go; with momentum 3 to 1 in what is in use, the 8 new ones are 6 and 2."""
    torch.manual_seed(5)
    momentum = [torch.rand(16) + 0.1, torch.rand(16) + 0.1]
    model, pruner = two_layers([value.clone() for value in momentum])
    keep, weight = kept(pruner), values(model)
    sizes = [value.numpy() for value in momentum]
    for size, mask, mean in zip(sizes, keep, (0.3, 0.1), strict=True):
        size[mask] *= mean / size[mask].mean()
    for layer, size, sign in zip(model, sizes, (-1.0, 1.0), strict=True):
        pruner.optimizer.state[layer.weight]["momentum_buffer"] = torch.tensor(sign * size).view_as(layer.weight)
    pruner.update_epoch(1)
    for now, value, size, mask, old, grows in zip(
        kept(pruner), values(model), sizes, keep, weight, (6, 2), strict=True
    ):
        absent = ~mask | lowest(np.abs(old), mask, 4)
        grown = lowest(-size, absent, grows)
        assert (now == (~absent | grown)).all()
        assert (value[now & ~mask] == 0).all()
        assert (value[now & mask] == old[now & mask]).all()
        assert (value[~now] == 0).all()
    assert [int(mask.sum()) for mask in kept(pruner)] == [8 - 4 + 6, 8 - 4 + 2]


def test_momentum_of_adam_is_its_update() -> None:
    layer = linear([1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    model = nn.Sequential(layer)
    optimizer = torch.optim.Adam(model.parameters())
    pruner = SparsePruner(model, HALF, optimizer, prune_rate=0.25)
    pruner.compress()
    mask = kept(pruner)[0]
    absent = np.flatnonzero(~mask)
    first, second = np.ones(8), np.ones(8)
    first[absent] = [4.0, 3.0, -2.0, 1.0]
    second[absent] = [100.0, 25.0, 0.04, 4.0]
    optimizer.state[layer.weight] = {
        "step": torch.tensor(1.0),
        "exp_avg": torch.tensor(first, dtype=torch.float32).view_as(layer.weight),
        "exp_avg_sq": torch.tensor(second, dtype=torch.float32).view_as(layer.weight),
    }
    pruner.update_epoch(1)
    assert list(np.flatnonzero(kept(pruner)[0] & ~mask)) == [absent[2]]


def test_a_layer_with_more_momentum_gains() -> None:
    _, pruner = two_layers([torch.full((16,), 1e-3), torch.full((16,), 3e-3)])
    pruner.update_epoch(1)
    first, second = (int(mask.sum()) for mask in kept(pruner))
    assert (first, second) == (4 + 2, 4 + 6)


def test_excess_goes_to_the_others() -> None:
    """6 of 12 go in each; the first has all the momentum, and room for 9 of its 10 zeros, 99 % rounded down."""
    _, pruner = two_layers([torch.full((16,), 1.0), torch.full((16,), 0.0)], density=0.75)
    pruner.update_epoch(1)
    assert [int(mask.sum()) for mask in kept(pruner)] == [6 + 9, 6 + 3]


@pytest.mark.parametrize("mode", ["momentum", "magnitude", "nonzero", "none"])
def test_what_shares_go_by(mode: str) -> None:
    model, pruner = two_layers([torch.full((16,), 1.0), torch.full((16,), 3.0)], redistribution=mode)
    with torch.no_grad():
        for layer, value in zip(model, (0.7, 0.1), strict=True):
            layer.weight.mul_(0).add_(value)
    pruner.step()
    expected = {"momentum": [6, 10], "magnitude": [11, 5], "nonzero": [8, 8], "none": [8, 8]}[mode]
    pruner.update_epoch(1)
    assert [int(mask.sum()) for mask in kept(pruner)] == expected


def test_by_nonzeros_the_larger_layer_gets_more() -> None:
    model = nn.Sequential(nn.Linear(30, 10, bias=False), nn.Linear(10, 10, bias=False))
    entries = [{"density": 0.5, "op_names": ["0"]}, {"density": 0.2, "op_names": ["1"]}]
    pruner = SparsePruner(model, entries, redistribution="nonzero", growth="random")
    pruner.compress()
    pruner.update_epoch(1)
    grown = 75 + 10
    share = round(grown * 150 / 170)
    assert [int(mask.sum()) for mask in kept(pruner)] == [75 + share, 10 + grown - share]


def test_by_no_momentum_each_layer_gets_back_what_it_lost(net: nn.Module) -> None:
    pruner = SparsePruner(net, [{"density": 0.98}], redistribution="none", growth="random")
    _, before = pruner.compress()
    pruner.update_epoch(1)
    assert {name: int(layer["weight"].sum()) for name, layer in pruner.masks.items()} == {
        name: int(layer["weight"].sum()) for name, layer in before.items()
    }
    assert not torch.equal(pruner.masks["fc"]["weight"], before["fc"]["weight"])


def test_set_removes_as_large_a_part_of_each_sign() -> None:
    """Of 2 negative and 6 positive weights in use, one and three go: those nearest to zero."""
    weights = [-0.1, -0.2, 6.0, 3.0, 1.0, 2.0, 4.0, 5.0]
    layer = linear(weights * 2)
    with torch.no_grad():
        layer.weight[0, 8:] = 0
    model = nn.Sequential(layer)
    pruner = SparsePruner(model, HALF, prune_mode="SET", growth="gradient", redistribution="none")
    pruner.compress()
    mask = kept(pruner)[0]
    with torch.no_grad():
        layer.weight[0, torch.tensor(mask)] = torch.tensor(weights)
    gradient = np.where(mask, 0.0, np.arange(16) + 1.0)
    layer.weight.grad = torch.tensor(gradient, dtype=torch.float32).view_as(layer.weight)
    pruner.update_epoch(1)
    now = kept(pruner)[0]
    assert layer.weight.detach()[0, torch.tensor(mask & now)].tolist() == pytest.approx([-0.2, 6.0, 4.0, 5.0])
    assert list(np.flatnonzero(now & ~mask)) == list(np.flatnonzero(~mask)[-4:])


def test_a_threshold_removes_what_is_below_it() -> None:
    layer = linear([0.05] * 8)
    pruner = SparsePruner(
        nn.Sequential(layer), HALF, prune_mode="threshold", growth="gradient", redistribution="none", threshold=0.2
    )
    pruner.compress()
    mask = kept(pruner)[0]
    layer.weight.grad = torch.tensor(np.where(mask, 0.0, 1.0), dtype=torch.float32).view_as(layer.weight)
    with torch.no_grad():
        layer.weight[0, torch.tensor(mask)] = torch.tensor([0.2, -0.1, 0.3, 0.19])
    pruner.update_epoch(1)
    now = kept(pruner)[0]
    assert layer.weight.detach()[0, torch.tensor(mask & now)].tolist() == pytest.approx([0.2, 0.3])
    assert now.sum() == 4


def test_a_threshold_never_takes_a_whole_layer() -> None:
    model, pruner = two_layers([torch.zeros(16), torch.ones(16)], 0.25, prune_mode="threshold", threshold=0.5)
    with torch.no_grad():
        model[0].weight.mul_(0)
        model[1].weight.mul_(0).add_(1)
    pruner.step()
    pruner.update_epoch(1)
    assert [int(mask.sum()) for mask in kept(pruner)] == [1, 7]


def test_random_growth_is_anywhere() -> None:
    _, pruner = two_layers([torch.arange(16.0), torch.arange(16.0)], growth="random", redistribution="none")
    found = set()
    for epoch in range(20):
        pruner.update_epoch(epoch)
        found |= set(np.flatnonzero(kept(pruner)[0]))
        assert in_use(pruner) == 16
    assert found == set(range(16))


def test_with_epochs_the_rate_falls_by_the_cosine() -> None:
    model = nn.Sequential(nn.Linear(100, 40, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pruner = SparsePruner(model, HALF, optimizer, prune_rate=0.4, epochs=4)
    pruner.compress()
    for epoch, rate in enumerate([0.4, 0.2 + 0.1 * math.sqrt(2), 0.2, 0.2 - 0.1 * math.sqrt(2), 0.0, 0.0]):
        mask = torch.tensor(kept(pruner)[0]).view(40, 100)
        optimizer.state[model[0].weight]["momentum_buffer"] = (~mask).float()
        pruner.update_epoch(epoch)
        moved = int((torch.tensor(kept(pruner)[0]).view(40, 100) & ~mask).sum())
        assert moved == math.floor(2000 * rate + 1e-9)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_absent_weights_stay_zero_and_have_momentum(net: nn.Module, train: Callable[..., None], optimizer: str) -> None:
    settings = {"momentum": 0.9} if optimizer == "SGD" else {}
    trainer = getattr(torch.optim, optimizer)(net.parameters(), lr=0.05, weight_decay=0.01, **settings)
    pruner = SparsePruner(net, [{"density": 0.2}], trainer, epochs=6)
    pruner.compress()
    start = in_use(pruner)
    for epoch in range(6):
        train(net, trainer, steps=3)
        for name, layer in pruner.masks.items():
            weight = net.get_submodule(name).weight.detach()
            assert not bool(weight.view(torch.int32)[~layer["weight"]].any())
        pruner.update_epoch(epoch + 1)
        assert in_use(pruner) == start
    state = trainer.state[net.get_submodule("fc").weight]
    moving = state["momentum_buffer" if optimizer == "SGD" else "exp_avg"]
    assert bool((moving[~pruner.masks["fc"]["weight"]] != 0).any())


def test_grown_weights_train(net: nn.Module, train: Callable[..., None]) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner = SparsePruner(net, [{"density": 0.2, "op_names": ["fc"]}], optimizer)
    _, before = pruner.compress()
    train(net, optimizer)
    pruner.update_epoch(1)
    grown = pruner.masks["fc"]["weight"] & ~before["fc"]["weight"]
    weight = net.get_submodule("fc").weight.detach()
    assert bool(grown.any())
    assert not bool(weight[grown].any())
    train(net, optimizer, steps=1)
    assert bool((weight[grown] != 0).all())


def test_removed_weights_come_back_with_their_last_values() -> None:
    model, pruner = two_layers([torch.zeros(16), torch.zeros(16)])
    first, weight = kept(pruner), values(model)
    for layer, mask in zip(model, first, strict=True):
        pruner.optimizer.state[layer.weight]["momentum_buffer"] = torch.tensor(~mask).float().view_as(layer.weight)
    pruner.update_epoch(1)
    second = kept(pruner)
    pruner.unwrap()
    for now, old, was, value in zip(second, first, weight, values(model), strict=True):
        assert (old & ~now).any()
        assert (value[old & ~now] == was[old & ~now]).all()


def test_compressing_again_leaves_the_places_as_they_are(net: nn.Module, train: Callable[..., None]) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner = SparsePruner(net, [{"density": 0.2}], optimizer)
    pruner.compress()
    train(net, optimizer)
    pruner.update_epoch(1)
    before, masks = net.get_submodule("fc").weight.detach().clone(), pruner.masks
    _, again = pruner.compress()
    assert all(torch.equal(layer["weight"], masks[name]["weight"]) for name, layer in again.items())
    assert torch.equal(net.get_submodule("fc").weight.detach(), before)


def test_a_layer_never_empties() -> None:
    model, pruner = two_layers(prune_rate=0.9)
    for epoch in range(12):
        for layer, size in zip(model, (0.0, 1.0), strict=True):
            pruner.optimizer.state[layer.weight]["momentum_buffer"] = torch.full_like(layer.weight, size)
        pruner.update_epoch(epoch)
        assert in_use(pruner) == 16
        assert all(mask.any() for mask in kept(pruner))


def test_another_pruner_beside_it(net: nn.Module, train: Callable[..., None]) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    level = LevelPruner(net, [{"sparsity": 0.5, "op_names": ["conv1"]}])
    level.compress()
    pruner = SparsePruner(net, [{"density": 0.2, "op_names": ["fc"]}], optimizer)
    pruner.compress()
    train(net, optimizer)
    pruner.update_epoch(1)
    train(net, optimizer)
    assert int((net.get_submodule("conv1").weight == 0).sum()) == 108
    assert in_use(pruner) == 192


def test_tied_weights_move_as_one(tied: nn.Module) -> None:
    optimizer = torch.optim.Adam(tied.parameters(), lr=0.05)
    pruner = SparsePruner(tied, [{"density": 0.25}], optimizer)
    pruner.compress()
    tokens = torch.arange(12)
    for epoch in range(3):
        for _ in range(3):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(tied(tokens), tokens.flip(0)))
            optimizer.step()
        pruner.update_epoch(epoch + 1)
        assert list(pruner.masks) == ["embed", "mix"]
        assert in_use(pruner) == 24 + 16
    assert tied.get_submodule("head").weight is tied.get_submodule("embed").weight
    assert not bool(tied.get_submodule("head").weight[~pruner.masks["embed"]["weight"]].any())


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"density": 0}, "above 0"),
        ({"density": 1.5}, "up to 1"),
        ({"density": 0.1, "sparsity": 0.9}, "one of them"),
        ({}, "no sparsity"),
        ({"density": 0.1, "granularity": "filter"}, "single weights"),
        ({"density": 0.1, "allocation": "erk", "max_sparsity_per_layer": 0.95}, "single weights"),
    ],
)
def test_entries_that_cannot_be(net: nn.Module, entry: dict[str, Any], said: str) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(UsageError, match="config_list") as caught:
        SparsePruner(net, [{**entry, "op_names": ["fc"]}], optimizer)
    assert said in str(caught.value)


def test_optimizers_that_cannot_lead(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="SGD without momentum"):
        SparsePruner(net, HALF, torch.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(UsageError, match="None as optimizer"):
        SparsePruner(net, HALF)
    with pytest.raises(UsageError, match="as optimizer"):
        SparsePruner(net, HALF, net.parameters())
    part = torch.optim.SGD(net.get_submodule("fc").parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(UsageError, match="layer 'conv0'"):
        SparsePruner(net, HALF, part).compress()
    assert all("_autoprune_masks" not in module.__dict__ for module in net.modules())


def test_updates_before_any_training(net: nn.Module) -> None:
    optimizer = torch.optim.Adam(net.parameters())
    pruner = SparsePruner(net, HALF, optimizer)
    with pytest.raises(UsageError, match="call compress"):
        pruner.update_epoch(1)
    pruner.compress()
    with pytest.raises(UsageError, match="no momentum from Adam"):
        pruner.update_epoch(1)
    by_gradient = SparsePruner(net, HALF, growth="gradient", redistribution="magnitude")
    by_gradient.compress()
    with pytest.raises(UsageError, match="no gradient to grow by"):
        by_gradient.update_epoch(1)


def test_momentum_that_is_no_number() -> None:
    _, pruner = two_layers([torch.full((16,), float("nan")), torch.ones(16)])
    with pytest.raises(UsageError, match="not finite"):
        pruner.update_epoch(1)
