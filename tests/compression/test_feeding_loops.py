"""Training functions of every kind: accumulating, evaluating, catching errors, with closures, with a scaled loss."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch.feeding import Feed
from autoprune.errors import UsageError
from tests.compression.loops import epoch, rows, same


def test_accumulated_gradients_are_one_batch_and_calls_are_counted_without_gradients() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = rows(12)
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    seen: list[Tensor] = []

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        for number, (inputs, target) in enumerate(data):
            torch.autograd.backward(criterion(given(inputs), target))
            if number % 3 == 2:
                own.step()
                own.zero_grad(set_to_none=False)

    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    feed.observe(model, 2, lambda: seen.append(model.weight.grad))  # type: ignore[arg-type]
    assert len(calls) == 6
    total = sum(nn.functional.cross_entropy(model(inputs), target) for inputs, target in data[3:6])
    assert isinstance(total, Tensor)
    assert torch.allclose(seen[1], torch.autograd.grad(total, model.weight)[0], atol=1e-6)
    calls.clear()
    assert feed.observe(model, 2) == 2
    assert len(calls) == 2


def test_a_trainer_that_only_evaluates() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outputs: list[Tensor] = []
    model.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    data = rows(6)

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        with torch.no_grad():
            for inputs, _ in data:
                given(inputs)

    feed = Feed.of(trainer, optimizer)
    assert feed.observe(model, 4) == 4
    assert len(outputs) == 4
    with pytest.raises(UsageError, match=r"trainer: given a function that never stepped .* called the model 6 times"):
        feed.observe(model, 4, lambda: None)
    assert len(outputs) == 10


def test_a_check_without_gradients_before_the_training_is_no_batch() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = rows(4)

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        with torch.no_grad():
            for inputs, _ in data:
                given(inputs)
        epoch(data)(given, own, criterion)

    seen: list[int] = []
    Feed.of(trainer, optimizer, nn.functional.cross_entropy).observe(model, 3, lambda: seen.append(1))
    assert len(seen) == 3


@pytest.mark.parametrize("quiet", [Exception, BaseException])
def test_a_trainer_that_catches_errors_is_stopped_all_the_same(quiet: type[BaseException]) -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    caught: list[BaseException] = []

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        for batch in rows(6):
            try:
                epoch([batch])(given, own, criterion)
            except quiet as error:
                caught.append(error)

    seen: list[int] = []
    Feed.of(trainer, optimizer, nn.functional.cross_entropy).observe(model, 2, lambda: seen.append(1))
    assert len(seen) == 2
    assert len(caught) == (0 if quiet is Exception else 4)


def test_an_epoch_with_fewer_batches_gives_what_it_has() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    runs: list[int] = []

    def trainer(*given: Any) -> None:
        runs.append(1)
        epoch(rows(2))(*given)

    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    assert feed.observe(model, 20, lambda: None) == 2
    assert len(runs) == 1
    assert feed.observe(model, None, lambda: None) == 2


def test_a_trainer_without_any_batch_is_an_error() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"Wanda.trainer: given a function that never called the model"):
        Feed.of(epoch([]), optimizer, where="Wanda").observe(model, 3)
    with pytest.raises(UsageError, match="never stepped its optimizer"):
        Feed.of(epoch([]), optimizer).train(model)


def test_closures() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    data = rows(5)

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        for inputs, target in data:

            def closure(inputs: Tensor = inputs, target: Tensor = target) -> Tensor:
                own.zero_grad()
                loss: Tensor = criterion(given(inputs), target)
                torch.autograd.backward(loss)
                return loss

            own.step(closure)

    trainer(model, optimizer, nn.functional.cross_entropy)
    state = copy.deepcopy(optimizer.state_dict())
    weight = model.weight.detach().clone()
    seen: list[Tensor] = []
    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    feed.observe(model, 3, lambda: seen.append(model.weight.grad))  # type: ignore[arg-type]
    expected = [
        torch.autograd.grad(nn.functional.cross_entropy(model(inputs), target), model.weight)[0]
        for inputs, target in data[:3]
    ]
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))
    assert torch.equal(model.weight, weight)
    assert same(optimizer.state_dict(), state)

    steps: list[int] = []

    def silence() -> None:
        steps.append(1)
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.fill_(0)

    feed.train(model, 1, 2, silence)
    assert len(steps) == 2
    assert torch.equal(model.weight, weight)


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_of_a_scaled_loss_are_true_and_the_scaler_goes_on_as_before(fused: bool) -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    data = rows(3)

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        for inputs, target in data:
            own.zero_grad()
            torch.autograd.backward(scaler.scale(criterion(given(inputs), target)))
            scaler.step(own)
            scaler.update()

    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    seen: list[Tensor] = []
    feed.observe(model, 2, lambda: seen.append(model.weight.grad))  # type: ignore[arg-type]
    losses = [nn.functional.cross_entropy(model(inputs), target) for inputs, target in data[:2]]
    expected = [torch.autograd.grad(loss, model.weight)[0] for loss in losses]
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(seen, expected, strict=True))

    weight = model.weight.detach().clone()

    def add_one() -> None:
        assert model.weight.grad is not None
        model.weight.grad += 1

    feed.train(model, 1, 1, add_one)
    assert torch.allclose(model.weight, weight - 0.1 * (expected[0] + 1), atol=1e-6)
    assert not hasattr(optimizer, "grad_scale")


def test_an_overflowed_batch_of_a_fused_optimizer_is_no_batch() -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    data = rows(3)

    def trainer(given: nn.Module, own: torch.optim.Optimizer, criterion: Any) -> None:
        for number, (inputs, target) in enumerate(data):
            own.zero_grad()
            loss = scaler.scale(criterion(given(inputs), target))
            torch.autograd.backward(loss * (float("inf") if number == 0 else 1.0))
            scaler.step(own)
            scaler.update()

    finite: list[bool] = []

    def look() -> None:
        assert model.weight.grad is not None
        finite.append(bool(model.weight.grad.isfinite().all()))

    assert Feed.of(trainer, optimizer, nn.functional.cross_entropy).observe(model, 3, look) == 2
    assert finite == [True, True]
