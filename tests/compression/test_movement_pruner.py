"""Movement: importance is what autograd says it is, and weights on their way to zero go."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch import LevelPruner, MovementPruner, TaylorFOWeightPruner
from autoprune.errors import UsageError

TO_HALF = {"final_sparsity": 0.5, "end_epoch": 1}


def movement(model: nn.Module, **changes: Any) -> MovementPruner:
    pruner = MovementPruner(model, [{**TO_HALF, **changes}])
    pruner.compress()
    return pruner


def row(*weights: float) -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Linear(len(weights), 1, bias=False))
    weight = model[0].weight
    with torch.no_grad():
        weight.copy_(torch.tensor([weights]))
    return model, weight


def pull(model: nn.Module, optimizer: torch.optim.Optimizer, gradient: list[float]) -> None:
    """A step with this gradient: that of the output for this input."""
    optimizer.zero_grad()
    torch.autograd.backward(model(torch.tensor([gradient])).sum())
    optimizer.step()


def test_importance_is_the_sum_of_minus_gradient_times_weight() -> None:
    """Two steps of SGD on squares, in numpy: which six of twelve weights have the largest sum."""
    generator = np.random.default_rng(3)
    inputs, start = generator.normal(size=(2, 5, 12)), generator.normal(size=12)
    weight, importance = start.copy(), np.zeros(12)
    for batch in inputs:
        gradient = 2 * batch.T @ (batch @ weight - 1)
        importance -= gradient * weight
        weight -= 0.01 * gradient
    model = nn.Sequential(nn.Linear(12, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(start)[None])
    pruner = movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for batch in inputs:
        optimizer.zero_grad()
        torch.autograd.backward((model(torch.tensor(batch)) - 1).square().sum())
        optimizer.step()
    pruner.update_epoch(1)
    expected = np.ones(12, dtype=bool)
    expected[np.argsort(importance)[:6]] = False
    assert pruner.masks["0"]["weight"].numpy()[0].tolist() == expected.tolist()
    assert set(np.argsort(importance)[:6]) != set(np.argsort(np.abs(weight))[:6])


def test_weights_that_move_away_from_zero_stay() -> None:
    """The large ones shrink, the small ones grow: magnitude would keep the large ones."""
    model, weight = row(5.0, -5.0, 0.1, -0.1)
    pruner = movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        pull(model, optimizer, [1.0, -1.0, -1.0, 1.0])
    pruner.update_epoch(1)
    assert pruner.masks["0"]["weight"].tolist() == [[False, False, True, True]]
    assert weight.detach()[0].tolist() == pytest.approx([0, 0, 0.13, -0.13])


def test_a_pruned_weight_gathers_importance_and_comes_back() -> None:
    """Its value under the mask counts, and it returns with that value."""
    model, weight = row(2.0, 1.0)
    pruner = movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pull(model, optimizer, [1.0, -1.0])
    pruner.update_epoch(1)
    assert weight.detach()[0].tolist() == pytest.approx([0.0, 1.1])
    pull(model, optimizer, [-2.0, 2.0])
    assert weight.detach()[0].tolist() == pytest.approx([0.0, 0.9])
    pruner.update_epoch(2)
    # S = -(1 * 2) - (-2 * 1.9) = 1.8 against -(-1 * 1) - (2 * 1.1) = -1.2
    assert weight.detach()[0].tolist() == pytest.approx([1.9, 0.0])


def test_the_cubic_schedule(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = MovementPruner(net, [{"final_sparsity": 0.8, "end_epoch": 10, "op_names": ["fc"]}])
    _, masks = pruner.compress()
    assert bool(masks["fc"]["weight"].all())
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    for epoch, expected in {1: 0.2168, 2: 0.3904, 5: 0.7, 10: 0.8, 12: 0.8}.items():
        pruner.update_epoch(epoch)
        assert int((~pruner.masks["fc"]["weight"]).sum()) == int(960 * expected + 1e-9)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_pruned_weights_are_zero_while_training(net: nn.Module, train: Callable[..., None], optimizer: str) -> None:
    settings = {"momentum": 0.9} if optimizer == "SGD" else {}
    trainer = getattr(torch.optim, optimizer)(net.parameters(), lr=0.05, weight_decay=0.01, **settings)
    pruner = movement(net, end_epoch=3)
    for epoch in range(4):
        train(net, trainer)
        for name, layer in pruner.masks.items():
            weight = net.get_submodule(name).weight.detach()
            assert not bool(weight.view(torch.int32)[~layer["weight"]].any())
        pruner.update_epoch(epoch + 1)
    assert int((net.get_submodule("fc").weight == 0).sum()) == 480


def test_a_closure_computes_the_gradients_within_the_step() -> None:
    model, _ = row(5.0, -5.0, 0.1, -0.1)
    pruner = movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def closure() -> float:
        optimizer.zero_grad()
        loss = model(torch.tensor([[1.0, -1.0, -1.0, 1.0]])).sum()
        torch.autograd.backward(loss)
        return loss.item()

    assert optimizer.step(closure) == pytest.approx(10.0 - 0.2)
    pruner.update_epoch(1)
    assert pruner.masks["0"]["weight"].tolist() == [[False, False, True, True]]


def test_one_budget_for_all_layers(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = MovementPruner(net, [{"total_sparsity": 0.5, "end_epoch": 1}])
    pruner.compress()
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    pruner.update_epoch(1)
    assert sum(int((~layer["weight"]).sum()) for layer in pruner.masks.values()) == 606


def test_whole_filters_by_the_sum_of_their_weights() -> None:
    model = nn.Sequential(nn.Linear(2, 4, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, 2.0], [3.0, -1.0], [-2.0, -2.0]]))
    pruner = movement(model, granularity="filter")
    pull(model, torch.optim.SGD(model.parameters(), lr=0.1), [-1.0, -1.0])
    pruner.update_epoch(1)
    # S of the rows: 2, 1, 2, -4
    assert pruner.masks["0"]["weight"][:, 0].tolist() == [True, False, True, False]


def test_two_models_at_once() -> None:
    first, second = row(1.0, 2.0)[0], row(1.0, 2.0)[0]
    one, two = movement(first), movement(second)
    pull(first, torch.optim.SGD(first.parameters(), lr=0.1), [1.0, -1.0])
    pull(second, torch.optim.SGD(second.parameters(), lr=0.1), [-1.0, 1.0])
    one.update_epoch(1)
    two.update_epoch(1)
    assert one.masks["0"]["weight"].tolist() == [[False, True]]
    assert two.masks["0"]["weight"].tolist() == [[True, False]]


def test_a_copy_of_the_model_is_its_own() -> None:
    model, _ = row(1.0, 2.0)
    pruner = movement(model)
    pull(model, torch.optim.SGD(model.parameters(), lr=0.1), [1.0, -1.0])
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(5):
        pull(twin, optimizer, [-1.0, 1.0])
    pruner.update_epoch(1)
    assert pruner.masks["0"]["weight"].tolist() == [[False, True]]
    assert bool((twin[0].weight != 0).all())


def test_unwrapping_ends_the_gathering() -> None:
    model, weight = row(2.0, 1.0)
    pruner = movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pull(model, optimizer, [1.0, -1.0])
    pruner.update_epoch(1)
    pruner.unwrap()
    assert weight.detach()[0].tolist() == pytest.approx([1.9, 1.1])
    for _ in range(5):
        pull(model, optimizer, [1.0, -1.0])
    with pytest.raises(UsageError, match="no training of layer '0'"):
        pruner.compress()


def test_a_model_that_is_forgotten_goes() -> None:
    model, _ = row(2.0, 1.0)
    pruner = movement(model)
    gone = weakref.ref(pruner)
    del model, _, pruner
    gc.collect()
    assert gone() is None


def test_half_precision() -> None:
    model, _ = row(5.0, -5.0, 0.1, -0.1)
    model.bfloat16()
    pruner = movement(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.zero_grad()
    torch.autograd.backward(model(torch.tensor([[1.0, -1.0, -1.0, 1.0]], dtype=torch.bfloat16)).sum())
    optimizer.step()
    pruner.update_epoch(1)
    assert pruner.masks["0"]["weight"].tolist() == [[False, False, True, True]]


def test_pruning_before_any_training(net: nn.Module, train: Callable[..., None]) -> None:
    pruner = movement(net)
    with pytest.raises(UsageError, match="no training of layer 'conv0'"):
        pruner.update_epoch(1)
    assert all(bool(layer["weight"].all()) for layer in pruner.masks.values())
    train(net, torch.optim.SGD(net.get_submodule("conv0").parameters(), lr=0.1))
    with pytest.raises(UsageError, match="no training of layer 'conv1'"):
        pruner.update_epoch(1)
    with pytest.raises(UsageError, match="initial_sparsity 0"):
        MovementPruner(net, [{**TO_HALF, "initial_sparsity": 0.2}]).compress()


def test_after_another_pruner() -> None:
    """What the first pruner took stays zero, whatever its importance."""
    model, weight = row(5.0, -5.0, 0.1, -0.2)
    LevelPruner(model, [{"sparsity": 0.25}]).compress()
    pruner = movement(model)
    pull(model, torch.optim.SGD(model.parameters(), lr=0.01), [1.0, -1.0, -1.0, 1.0])
    pruner.update_epoch(1)
    assert weight.detach()[0].tolist() == pytest.approx([0, 0, 0, -0.21])


def test_scoring_by_another_pruner_is_no_training() -> None:
    layer = nn.Linear(6, 4)
    model = nn.Sequential(layer)
    batches = [(torch.randn(8, 6), torch.arange(8) % 4)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for scored in (False, True):
        torch.manual_seed(0)
        nn.init.normal_(layer.weight)
        pruner = MovementPruner(model, [{"final_sparsity": 0.5, "end_epoch": 1}])
        pruner.compress()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
        optimizer.step()
        if scored:
            taylor = TaylorFOWeightPruner(
                model, [{"sparsity": 0.25}], batches=batches, loss=nn.functional.cross_entropy, optimizer=optimizer
            )
            taylor.compress()
            taylor.unwrap()
        pruner.update_epoch(1)
        found.append(pruner.masks["0"]["weight"])
        pruner.unwrap()
    assert torch.equal(*found)
