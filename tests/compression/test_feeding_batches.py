"""Batches in place of a training function, real training, and mistakes in what is given."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch.feeding import Feed
from autoprune.errors import UsageError
from tests.compression.loops import Batch, epoch, rows


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        out: Tensor = self.fc(left + right)
        return out


def test_batches_and_a_loss() -> None:
    data = rows(4)
    model = nn.Linear(5, 3)
    seen: list[Tensor] = []
    feed = Feed.of(batches=data, loss=nn.functional.cross_entropy)
    feed.observe(model, 3, lambda: seen.append(model.weight.grad))  # type: ignore[arg-type]
    expected = [
        torch.autograd.grad(nn.functional.cross_entropy(model(inputs), target), model.weight)[0]
        for inputs, target in data[:3]
    ]
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))
    assert model.weight.grad is None


@pytest.mark.parametrize("form", ["tuple", "dict"])
@pytest.mark.parametrize("loss", [None, nn.functional.cross_entropy])
def test_several_inputs(form: str, loss: Any) -> None:
    model = Pair()
    left, right, target = torch.randn(4, 5), torch.randn(4, 5), torch.randint(3, (4,))
    outputs: list[Tensor] = []
    model.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    inputs = (left, right) if form == "tuple" else {"right": right, "left": left}
    purpose: Any = "outputs" if loss is None else "gradients"
    Feed.of(batches=[(inputs, target)], loss=loss, purpose=purpose).observe(model, 5)
    assert torch.equal(outputs[0], model.fc(left + right))


def test_inputs_alone_where_no_loss_is_needed() -> None:
    model = nn.Linear(5, 3)
    outputs: list[Tensor] = []
    model.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    inputs = [torch.randn(2, 5), [torch.randn(3, 5)], (torch.randn(4, 5), None), {"input": torch.randn(5, 5)}]
    assert Feed.of(batches=inputs, purpose="outputs").observe(model, 9) == 4
    assert [len(output) for output in outputs] == [2, 3, 4, 5]
    assert not any(output.requires_grad for output in outputs)


def test_a_loss_is_not_computed_where_outputs_are_enough() -> None:
    feed = Feed.of(batches=rows(2), loss=lambda output, target: 1 / 0, purpose="outputs")
    assert feed.observe(nn.Linear(5, 3), 5) == 2


def test_a_trainer_that_goes_round_the_model_is_stopped_at_its_next_step() -> None:
    model = nn.Sequential(nn.Linear(5, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def trainer(given: Any, own: torch.optim.Optimizer, criterion: Any) -> None:
        epoch(rows(5))(given[0], own, criterion)

    feed = Feed.of(trainer, optimizer, nn.functional.cross_entropy)
    seen: list[int] = []
    assert feed.observe(model, 3, lambda: seen.append(1)) == 3
    assert feed.observe(model, 3) == 3
    feed.train(model, 1, 2, lambda: seen.append(1))
    assert len(seen) == 5


def test_a_data_loader_gives_batches() -> None:
    data = torch.utils.data.TensorDataset(torch.randn(10, 5), torch.randint(3, (10,)))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    feed = Feed.of(batches=loader, loss=nn.functional.cross_entropy)
    model = nn.Linear(5, 3)
    before = torch.get_rng_state()
    assert [feed.observe(model, count, lambda: None) for count in (2, 20)] == [2, 3]
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_leave_the_mode_of_the_model_alone_when_scoring_and_train_it_when_training() -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).eval()
    model[0].train()
    modes: list[list[bool]] = []
    model.register_forward_hook(lambda *_: modes.append([module.training for module in model.modules()]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    feed = Feed.of(batches=rows(2), loss=nn.functional.cross_entropy, optimizer=optimizer)
    feed.observe(model, 1, lambda: None)
    feed.train(model, 1, 1)
    assert modes == [[False, True, False], [True, True, True]]
    assert [module.training for module in model.modules()] == [False, True, False]


def test_a_generator_gives_its_batches_once() -> None:
    def generate() -> Iterator[Batch]:
        yield from rows(3)

    feed = Feed.of(batches=generate(), loss=nn.functional.cross_entropy, where="TaylorFOWeightPruner")
    model = nn.Linear(5, 3)
    assert feed.observe(model, 5, lambda: None) == 3
    with pytest.raises(UsageError, match=r"Pruner.batches: given 0 batches; .* and 3 were taken; pass a list"):
        feed.observe(model, 5, lambda: None)


def test_training_changes_weights_by_the_gradients_that_before_step_leaves() -> None:
    data = rows(4)
    model = nn.Linear(5, 3)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    twins = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)

    def penalise() -> None:
        assert model.weight.grad is not None
        model.weight.grad.add_(model.weight.sign(), alpha=0.5)

    Feed.of(epoch(data), optimizer, nn.functional.cross_entropy).train(model, 2, 3, penalise)
    for _ in range(2):
        for inputs, target in data[:3]:
            twins.zero_grad()
            loss = nn.functional.cross_entropy(twin(inputs), target) + 0.5 * twin.weight.abs().sum()
            torch.autograd.backward(loss)
            twins.step()
    assert torch.allclose(model.weight, twin.weight, atol=1e-6)
    assert torch.allclose(model.bias, twin.bias, atol=1e-6)
    assert not model._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize(("epochs", "limit", "steps"), [(None, None, 4), (3, None, 12), (2, 3, 6), (1, 9, 4)])
def test_training_takes_so_many_steps(epochs: int | None, limit: int | None, steps: int) -> None:
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    feed = Feed.of(batches=rows(4), loss=nn.functional.cross_entropy, optimizer=optimizer, purpose="training")
    taken: list[int] = []
    feed.train(model, epochs, limit, lambda: taken.append(1))
    assert len(taken) == steps


def test_training_needs_an_optimizer_of_the_model() -> None:
    model, other = nn.Linear(5, 3), nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"holds no parameter of the model; expected one built on model.parameters"):
        Feed.of(epoch(rows(2)), optimizer).train(other)
    with pytest.raises(UsageError, match="given no optimizer"):
        Feed.of(batches=rows(2), loss=nn.functional.cross_entropy).train(model)


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


LOSS = nn.functional.cross_entropy


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "given no data; expected trainer, optimizer and criterion, or batches and loss"),
        ({"optimizer": sgd()}, "given no data"),
        ({"trainer": epoch([]), "optimizer": sgd(), "batches": []}, "both trainer and batches"),
        ({"trainer": epoch([])}, "a trainer without an optimizer"),
        ({"trainer": epoch([]), "optimizer": torch.optim.SGD}, "as optimizer; expected a torch.optim.Optimizer"),
        ({"trainer": epoch([]), "optimizer": sgd(), "loss": LOSS}, "expected trainer and criterion"),
        ({"trainer": lambda model: None, "optimizer": sgd()}, r"expected a function trainer\(model, optimizer"),
        ({"trainer": 3, "optimizer": sgd()}, "given 3 as trainer"),
        ({"batches": 3, "loss": LOSS}, "given a int as batches"),
        ({"batches": torch.zeros(2, 5), "loss": LOSS}, "given a Tensor as batches"),
        ({"batches": [], "criterion": LOSS}, r"loss=criterion"),
        ({"batches": [], "loss": 3}, "given 3 as loss"),
        ({"batches": []}, "without a loss"),
        ({"batches": [], "purpose": "training", "loss": LOSS}, "batches without an optimizer"),
    ],
)
def test_combinations_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^Slim: .*{said}"):
        Feed.of(**given, where="Slim")


@pytest.mark.parametrize(
    ("data", "loss", "said"),
    [
        ([], LOSS, "batches: given 0 batches; expected at least one$"),
        ([torch.zeros(2, 5)], LOSS, r"given a Tensor as batch 0; expected \(inputs, target\)$"),
        ([rows(1)[0], (torch.zeros(2, 5),) * 3], LOSS, r"given a tuple of 3 as batch 1"),
        (rows(1), lambda output, target: output, r"loss: given a tensor of shape \(4, 3\)"),
        (rows(1), lambda output, target: 3.0, r"loss: given 3.0 for a batch; expected a scalar"),
    ],
)
def test_batches_that_cannot_be_used(data: Any, loss: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Feed.of(batches=data, loss=loss).observe(nn.Linear(5, 3), 5, lambda: None)
