"""Observing a model while it trains, as scoring does: every batch is seen and nothing is left behind."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch.feeding import Feed
from tests.compression.loops import epoch, rows, same

Optimizers = dict[str, Callable[[Any], torch.optim.Optimizer]]
OPTIMIZERS: Optimizers = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "tensor lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), foreach=False),
}


class Noisy(nn.Module):
    """Everything that a forward pass may change: statistics, random numbers, buffers of its own."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, value: Tensor) -> Tensor:
        self.seen = self.seen + random.random() + np.random.rand()
        out: Tensor = self.frozen(self.body(value))
        return out


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Everything that scoring must leave alone, by value."""
    return copy.deepcopy(
        {
            "values": dict(model.state_dict(keep_vars=False)),
            "gradients": [None if each.grad is None else each.grad.clone() for each in model.parameters()],
            "trained": [each.requires_grad for each in model.parameters()],
            "modes": [each.training for each in model.modules()],
            "state": [sorted(optimizer.state[each].items()) for each in model.parameters() if each in optimizer.state],
            "groups": [{key: value for key, value in group.items() if key != "params"} for group in groups(optimizer)],
            "random": [random.getstate(), list(np.random.get_state(legacy=True)), torch.get_rng_state()],
        }
    )


def groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return list(optimizer.param_groups)


def identities(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[int]:
    tensors = [*model.parameters(), *model.buffers()]
    state = [value for each in model.parameters() for value in optimizer.state.get(each, {}).values()]
    gradients = [each.grad for each in model.parameters()]
    storage = [each.untyped_storage().data_ptr() for each in tensors]
    return [*map(id, (*tensors, *state, *gradients, *optimizer.param_groups)), *storage]


def trained(name: str = "sgd", steps: int = 3) -> tuple[Noisy, torch.optim.Optimizer]:
    """A model in the middle of its training: state, gradients, one module in evaluation mode."""
    model = Noisy()
    optimizer = OPTIMIZERS[name](model.parameters())
    epoch(rows(steps))(model, optimizer, nn.functional.cross_entropy)
    model.body[1].eval()
    return model, optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("gradients", [True, False])
def test_observing_leaves_no_trace(name: str, gradients: bool) -> None:
    model, optimizer = trained(name)
    feed = Feed.of(epoch(rows(4)), optimizer, nn.functional.cross_entropy)
    before, objects = snapshot(model, optimizer), identities(model, optimizer)
    assert feed.observe(model, 3, (lambda: None) if gradients else None) == 3
    assert same(snapshot(model, optimizer), before)
    assert identities(model, optimizer) == objects


def test_training_goes_on_as_if_nothing_had_been_observed() -> None:
    model, optimizer = trained("adamw")
    twin, twins = trained("adamw")
    twin.load_state_dict(model.state_dict())
    twins.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    data = rows(5)
    Feed.of(epoch(rows(4)), optimizer, nn.functional.cross_entropy).observe(model, 3, lambda: None)
    for each, own in ((model, optimizer), (twin, twins)):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        epoch(data)(each, own, nn.functional.cross_entropy)
    assert same(dict(model.state_dict()), dict(twin.state_dict()))


class Upset(Exception):
    pass


def test_a_trainer_that_does_everything_and_then_fails() -> None:
    model, optimizer = trained()
    before, objects = snapshot(model, optimizer), identities(model, optimizer)

    def trainer(given: Any, own: torch.optim.Optimizer, criterion: Any) -> None:
        epoch(rows(2))(given, own, criterion)
        given.eval().requires_grad_(True)
        given.body[0].weight = nn.Parameter(torch.zeros(8, 5))
        given.body[4].weight.data = given.body[4].weight.data.double() + 1
        given.body[1].momentum = 0.5
        own.state.clear()
        own.load_state_dict(own.state_dict())
        own.param_groups[0]["lr"] = 7.0
        own.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
        raise Upset

    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    with pytest.raises(Upset):
        feed.observe(model, 5, lambda: None)
    assert same(snapshot(model, optimizer), before)
    assert identities(model, optimizer) == objects
    assert model.body[1].momentum == 0.1
    assert not model._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_a_criterion_with_parameters_is_put_back_too() -> None:
    class Centres(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centre = nn.Parameter(torch.ones(3))
            self.register_buffer("count", torch.zeros(()))

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            self.count += 1
            return (output - self.centre).square().sum()

    model, criterion = nn.Linear(5, 3), Centres()
    optimizer = torch.optim.SGD([*model.parameters(), *criterion.parameters()], lr=0.1)
    Feed.of(epoch(rows(3)), optimizer, criterion).observe(model, 3, lambda: None)
    assert torch.equal(criterion.centre, torch.ones(3))
    assert criterion.centre.grad is None
    assert criterion.count == 0


def test_the_gradients_of_each_batch_are_those_of_autograd() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0, momentum=0.9)
    data = rows(4)
    model.weight.grad = torch.full((3, 5), 99.0)
    seen: list[Tensor] = []

    def keep() -> None:
        assert model.weight.grad is not None
        seen.append(model.weight.grad.clone())

    assert Feed.of(epoch(data), optimizer, nn.functional.cross_entropy).observe(model, 3, keep) == 3
    expected = [
        torch.autograd.grad(nn.functional.cross_entropy(model(inputs), target), model.weight)[0]
        for inputs, target in data[:3]
    ]
    assert same(seen, expected)
    assert torch.equal(model.weight.grad, torch.full((3, 5), 99.0))


def test_old_gradients_do_not_leak_into_a_loop_that_zeroes_after_its_step() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (inputs, target), *_ = data = rows(1)
    model.weight.grad = torch.full((3, 5), 99.0)
    seen: list[Tensor] = []

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        for each, wanted in data:
            torch.autograd.backward(criterion(given(each), wanted))
            own.step()
            own.zero_grad(set_to_none=False)

    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    feed.observe(model, 1, lambda: seen.append(model.weight.grad))  # type: ignore[arg-type]
    expected = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), target), model.weight)[0]
    assert torch.equal(seen[0], expected)
    assert torch.equal(model.weight.grad, torch.full((3, 5), 99.0))


def test_a_model_in_bfloat16() -> None:
    model = Noisy().to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    data = [(inputs.bfloat16(), target) for inputs, target in rows(4)]
    epoch(data)(model, optimizer, nn.functional.cross_entropy)
    for state in optimizer.state.values():
        state["exp_avg"] = state["exp_avg"].float()
    before, objects = snapshot(model, optimizer), identities(model, optimizer)
    Feed.of(batches=data, loss=nn.functional.cross_entropy).observe(model, 3, lambda: None)
    Feed.of(epoch(data), optimizer, nn.functional.cross_entropy).observe(model, 3, lambda: None)
    assert same(snapshot(model, optimizer), before)
    assert identities(model, optimizer) == objects


def test_under_no_grad_it_runs_as_well() -> None:
    model, optimizer = trained()
    seen: list[bool] = []

    def look() -> None:
        seen.append(model.body[0].weight.grad is not None)
        assert not torch.is_grad_enabled()

    with torch.no_grad():
        Feed.of(epoch(rows(2)), optimizer, nn.functional.cross_entropy).observe(model, 2, look)
        assert not torch.is_grad_enabled()
    assert seen == [True, True]
