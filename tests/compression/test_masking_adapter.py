"""`Masking`, as users of sparse_learning write it: the same rule behind the original calls."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.compression.torch import SparsePruner, achieved_sparsity
from autoprune.compression.torch.sparse_learning import CosineDecay, LinearDecay, Masking
from autoprune.errors import UsageError


def images_and_labels() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(6)]


def test_the_original_way_of_use(net: nn.Module) -> None:
    loader, epochs = images_and_labels(), 5
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    decay = CosineDecay(0.5, len(loader) * epochs)
    mask = Masking(optimizer, decay, prune_rate=0.5, prune_mode="magnitude", growth_mode="momentum")
    mask.add_module(net, density=0.05)
    before = mask.pruners[0].masks
    kept = sum(int(layer["weight"].sum()) for layer in before.values())
    assert kept == sum(size - math.floor(size * 0.95 + 1e-9) for size in (36, 216, 960))
    for _ in range(epochs):
        for image, label in loader:
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(net(image), label))
            mask.step()
        mask.at_end_of_epoch()
        masks = mask.pruners[0].masks
        assert sum(int(layer["weight"].sum()) for layer in masks.values()) == kept
        for name, layer in masks.items():
            assert not bool(net.get_submodule(name).weight[~layer["weight"]].any())
    assert any(not torch.equal(layer["weight"], before[name]["weight"]) for name, layer in masks.items())
    assert mask.prune_rate == pytest.approx(0.005)


def test_it_does_what_the_pruner_does() -> None:
    def trained(*, adapter: bool) -> torch.Tensor:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if adapter:
            mask = Masking(optimizer, prune_rate=0.3)
            mask.add_module(model, density=0.2)
        else:
            pruner = SparsePruner(model, [{"density": 0.2}], optimizer, prune_rate=0.3)
            pruner.compress()
        for epoch in range(3):
            for image, label in images_and_labels():
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(model(image), label))
                mask.step() if adapter else optimizer.step()
            mask.at_end_of_epoch() if adapter else pruner.update_epoch(epoch + 1)
        return torch.cat([value.flatten() for value in model.state_dict().values()])

    assert torch.equal(trained(adapter=True), trained(adapter=False))


def test_modules_of_their_own_densities() -> None:
    first, second = nn.Sequential(nn.Linear(10, 10)), nn.Sequential(nn.Linear(20, 10))
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1, momentum=0.9)
    mask = Masking(optimizer)
    mask.add_module(first, density=0.5)
    mask.add_module(second, density=0.1)
    torch.autograd.backward(first(torch.randn(4, 10)).sum() + second(torch.randn(4, 20)).sum())
    mask.step()
    mask.at_end_of_epoch()
    assert (achieved_sparsity(first), achieved_sparsity(second)) == pytest.approx((0.5, 0.9))


@pytest.mark.parametrize(("step", "rate"), [(0, 0.5), (25, 0.005 + 0.495 * 0.8535534), (50, 0.2525), (100, 0.005)])
def test_cosine_decay(step: int, rate: float) -> None:
    decay = CosineDecay(0.5, 100)
    for _ in range(step):
        decay.step()
    assert decay.get_dr(0.5) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.5), (25, 0.375), (100, 0.0), (120, 0.0)])
def test_linear_decay(step: int, rate: float) -> None:
    decay = LinearDecay(0.5, 100)
    for _ in range(step):
        decay.step()
    assert decay.get_dr(0.5) == pytest.approx(rate)


def test_a_cosine_does_not_rise_again() -> None:
    decay = CosineDecay(0.5, 10)
    for _ in range(20):
        decay.step()
    assert decay.get_dr() == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prune_mode": "magnitud"}, "did you mean magnitude?"),
        ({"growth_mode": "momentum_neuron"}, "given 'momentum_neuron'"),
        ({"redistribution_mode": "mean"}, "given 'mean'"),
    ],
)
def test_modes_there_are_not(net: nn.Module, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Masking(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), **changes)
    assert said in str(caught.value)


def test_calls_that_cannot_be(net: nn.Module) -> None:
    with pytest.raises(UsageError, match="call add_module"):
        Masking(torch.optim.Adam(net.parameters())).at_end_of_epoch()
    with pytest.raises(UsageError, match="without momentum"):
        Masking(torch.optim.SGD(net.parameters(), lr=0.1)).add_module(net, density=0.1)
    with pytest.raises(UsageError, match="T_max: given 0"):
        CosineDecay(0.5, 0)
    with pytest.raises(UsageError, match="T_max"):
        LinearDecay(0.5, 1.5)  # type: ignore[arg-type]
