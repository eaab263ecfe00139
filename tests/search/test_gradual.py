"""Gradual pruning by hand: what goes when, what is left, and what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer
from torch.optim import optimizer as torch_optimizer

from autoprune.errors import UsageError
from autoprune.search.gradual import LAST, PRUNINGS, removal_order, steps_of
from tests.search.tasks import Images, Points

LAYERS = ["a", "b"]
TOTAL = 12 * 10 + 7 * 4


class Slopes(nn.Module):
    """Its loss is a sum of weights, each times its own slope: gradients are known, and do not change."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.a = nn.Linear(10, 12, dtype=dtype)
        self.b = nn.Linear(4, 7, dtype=dtype)
        with torch.no_grad():
            for each in (self.a, self.b):
                each.weight.copy_(torch.randn(each.weight.shape, generator=generator))
        self.slopes = {
            name: torch.randn(weight.shape, generator=generator).to(dtype) for name, weight in self.weights().items()
        }

    def weights(self) -> dict[str, Tensor]:
        return {name: self.get_submodule(name).get_parameter("weight") for name in LAYERS}

    def values(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights().items()}

    def scores(self) -> dict[str, Tensor]:
        """In which order weights go that do not change."""
        return {name: (weight * self.slopes[name]).square() for name, weight in self.values().items()}

    def forward(self) -> Tensor:
        parts = [(weight * self.slopes[name]).sum() for name, weight in self.weights().items()]
        return sum(parts, self.a.bias.sum() + self.b.bias.sum())


class Training:
    """So many steps. `masks` are what is left after each, in all layers as one."""

    def __init__(self, steps: int, lr: float = 0.0, make: Callable[..., Optimizer] = SGD) -> None:
        self.steps, self.lr, self.make = steps, lr, make
        self.masks: list[Tensor] = []

    def __call__(self, model: Any) -> None:
        optimizer = self.make(model.parameters(), lr=self.lr)
        for _ in range(self.steps):
            optimizer.zero_grad()
            model().backward()
            optimizer.step()
            self.masks.append(flat(model.values()) != 0)

    @property
    def left(self) -> list[int]:
        return [int(mask.sum()) for mask in self.masks]


def flat(given: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in given.values()])


def prunings(steps: int) -> list[int]:
    """After which steps weights go."""
    last = max(1, math.floor(LAST * steps))
    every = max(1, last // PRUNINGS)
    return sorted({*range(every, last + 1, every), last})


@pytest.fixture(autouse=True)
def nothing_listens_afterwards() -> Iterator[None]:
    before = len(torch_optimizer._global_optimizer_post_hooks)
    yield
    assert len(torch_optimizer._global_optimizer_post_hooks) == before


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 19, 20, 33, 41, 100, 333])
def test_the_course_is_exponential_and_ends_with_what_is_kept(steps: int) -> None:
    training, kept = Training(steps), 15
    removal_order(Slopes(), LAYERS, kept, steps, training)
    times = prunings(steps)
    expected, left = [], TOTAL
    for step in range(1, steps + 1):
        left = round(TOTAL * (kept / TOTAL) ** (step / times[-1])) if step in times else left
        expected.append(left)
    assert training.left == expected
    assert training.left[-1] == kept


@settings(max_examples=20, deadline=None)
@given(st.integers(2, TOTAL), st.integers(1, 60), st.integers(0, 99))
def test_the_smallest_of_all_layers_go_first(kept: int, steps: int, seed: int) -> None:
    """But for the largest of each layer, which stays."""
    model = Slopes(seed)
    scores, values = model.scores(), model.values()
    training = Training(steps)
    order = removal_order(model, LAYERS, kept, steps, training)
    for own in scores.values():
        own.view(-1)[own.argmax()] = math.inf
    ranked = flat(scores).argsort(descending=True)
    for mask in training.masks:
        assert set(mask.nonzero().flatten().tolist()) == set(ranked[: int(mask.sum())].tolist())
    for name, own in order.items():
        assert torch.equal(own.flatten().argsort(), scores[name].flatten().argsort())
        assert torch.equal(model.values()[name], values[name])
    in_one_go = flat(order).floor()[ranked]
    assert bool((in_one_go[:-1] >= in_one_go[1:]).all())
    assert set(flat(order).topk(kept).indices.tolist()) == set(ranked[:kept].tolist())


def test_weights_without_a_gradient_go_one_after_the_other_as_well() -> None:
    model = Slopes()
    for slope in model.slopes.values():
        slope.zero_()
    training = Training(40)
    removal_order(model, LAYERS, 30, 40, training)
    usual = Training(40)
    removal_order(Slopes(), LAYERS, 30, 40, usual)
    assert training.left == usual.left
    assert training.left[-1] == 30


def test_no_layer_is_emptied() -> None:
    model = Slopes()
    with torch.no_grad():
        model.b.weight.mul_(1e-6)
    training = Training(40)
    order = removal_order(model, LAYERS, 30, 40, training)
    assert training.left[-1] == 30
    assert int(training.masks[-1][120:].sum()) == 1
    assert order["b"].argmax() == (model.b.weight * model.slopes["b"]).square().argmax()


class Plain(Optimizer):
    """Gradient descent."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for weight in self.param_groups[0]["params"]:
                weight -= self.param_groups[0]["lr"] * weight.grad


def test_what_went_gets_the_value_that_it_had_then() -> None:
    steps, kept, lr = 50, 20, 0.01
    model = Slopes(3)
    before = model.values()
    training = Training(steps, lr, Plain)
    order = removal_order(model, LAYERS, kept, steps, training)
    after, times = model.values(), prunings(steps)
    assert int((flat(order) >= len(times) + 1).sum()) == kept
    for name, went in order.items():
        turns = [[*times, steps][min(int(turn), len(times) + 1) - 1] for turn in went.flatten().tolist()]
        taken = torch.tensor(turns).reshape(went.shape)
        torch.testing.assert_close(after[name], before[name] - lr * taken * model.slopes[name])


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_what_has_gone_does_not_come_back(make: Callable[..., Optimizer]) -> None:
    training = Training(60, 0.05, make)
    order = removal_order(Slopes(), LAYERS, 12, 60, training)
    for earlier, later in zip(training.masks[:-1], training.masks[1:], strict=True):
        assert not bool((later & ~earlier).any())
    left = training.masks[-1]
    assert flat(order)[left].min() > flat(order)[~left].max()


@pytest.mark.parametrize(("square", "goes"), [(0.20, 1), (0.22, 0)])
def test_squares_of_gradients_have_a_running_mean(square: float, goes: int) -> None:
    """At the fourth step, when the first of three goes: 0.1 * 0.9 ** 3 of a gradient that was there at the first step
    alone, 1 - 0.9 ** 4 of one that stays."""
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    nn.init.ones_(model[0].weight)
    left = []

    def train(given: nn.Module) -> None:
        optimizer = SGD(given.parameters(), lr=0)
        for step in range(10):
            optimizer.zero_grad()
            given(torch.tensor([[0.0 if step else 1.0, math.sqrt(square), 9.0]])).sum().backward()
            optimizer.step()
            left.append(given[0].weight.detach().flatten() != 0)  # type: ignore[index]

    removal_order(model, ["0"], 2, 10, train)
    assert [int(mask.sum()) for mask in left] == [3] * 3 + [2] * 7
    assert not left[-1][goes]


def test_half_precision_tells_small_gradients_apart() -> None:
    model = Slopes(dtype=torch.float16)
    with torch.no_grad():
        for name, slope in model.slopes.items():
            slope.copy_(1e-4 * (1 + torch.rand(slope.shape)))
            model.weights()[name].copy_(1e-3 * (1 + torch.rand(slope.shape)))
    expected = {name: (model.weights()[name].double() * own.double()) ** 2 for name, own in model.slopes.items()}
    order = removal_order(model, LAYERS, 20, 10, Training(10))
    for name, own in order.items():
        ranked = expected[name].flatten()[own.flatten().argsort()]
        assert bool((ranked[1:] >= ranked[:-1] * (1 - 1e-3)).all())
        assert own.dtype == torch.float32


def test_a_training_that_is_shorter_than_said_ends_with_what_is_kept() -> None:
    model = Slopes()
    with torch.no_grad():
        model.b.weight.mul_(0.3)
    scores = model.scores()
    for own in scores.values():
        own.view(-1)[own.argmax()] = math.inf
    order = removal_order(model, LAYERS, 25, 100, Training(30))
    assert set(flat(order).topk(25).indices.tolist()) == set(flat(scores).topk(25).indices.tolist())


def test_steps_of_the_layers_are_counted() -> None:
    assert steps_of(Slopes(), LAYERS, Training(13)) == 13

    def some(model: Any) -> None:
        every = [SGD([model.a.weight], lr=0.1), AdamW([model.b.weight]), SGD([model.a.bias, model.b.bias], lr=0.1)]
        for _ in range(5):
            model().backward()
            for optimizer in every:
                optimizer.step()
        Training(4)(Slopes())

    assert steps_of(Slopes(), LAYERS, some) == 10
    assert steps_of(Slopes(), ["a"], some) == 5


@pytest.mark.parametrize("together", [True, False])
def test_several_optimizers_end_with_what_is_kept(together: bool) -> None:
    """One for biases takes no part, as it has no weights to prune."""
    left = []

    def train(model: Any) -> None:
        parts = [[model.a.weight, model.b.weight]] if together else [[model.a.weight], [model.b.weight]]
        every = [SGD(part, lr=0.01) for part in [*parts, [model.a.bias, model.b.bias]]]
        for _ in range(20):
            model.zero_grad()
            model().backward()
            for optimizer in every:
                optimizer.step()
            left.append(int(flat(model.values()).count_nonzero()))

    steps = steps_of(Slopes(), LAYERS, train)
    left.clear()
    removal_order(Slopes(), LAYERS, 15, steps, train)
    assert left[-1] == 15
    assert left == sorted(left, reverse=True)


def test_a_training_without_a_step_is_an_error() -> None:
    def train(model: Any) -> None:
        with torch.no_grad():
            model.a.weight -= 0.1
        SGD([model.a.bias], lr=0.1).step()

    with pytest.raises(UsageError, match=r"no step of a torch optimizer; expected some, .* such as \[level\]"):
        steps_of(Slopes(), LAYERS, train)


def test_where_training_fails_no_step_is_listened_to() -> None:
    model = Slopes()

    def train(given: Any) -> None:
        Training(30)(given)
        raise ValueError("out of luck")

    for call in (lambda: steps_of(model, LAYERS, train), lambda: removal_order(model, LAYERS, 5, 30, train)):
        with pytest.raises(ValueError, match="out of luck"):
            call()
    model = Slopes()
    Training(3, 0.1)(model)
    assert bool((flat(model.values()) != 0).all())


def test_the_layout_of_weights_does_not_matter(tmp_path: Path) -> None:
    task = Images()
    orders = []
    for layout in (torch.channels_last, torch.contiguous_format):
        torch.manual_seed(0)
        model = task.build().to(memory_format=layout)
        assert model.conv2.weight.is_contiguous(memory_format=layout)
        inputs, labels = task.data(1)

        def train(given: nn.Module, inputs: Tensor = inputs, labels: Tensor = labels) -> None:
            optimizer = SGD(given.parameters(), lr=1e-3)
            for _ in range(12):
                optimizer.zero_grad()
                cross_entropy(given(inputs), labels).backward()
                optimizer.step()

        order = removal_order(model, ["conv1", "conv2", "conv3"], 200, 12, train)
        save_file(order, str(tmp_path / "order"))
        assert all(torch.equal(own, order[name]) for name, own in load_file(tmp_path / "order").items())
        assert {name: own.shape for name, own in order.items()} == {
            name: model.get_submodule(name).weight.shape for name in order
        }
        assert model.conv2.weight.is_contiguous(memory_format=layout)
        orders.append(set(flat(order).topk(200).indices.tolist()))
    assert len(orders[0] & orders[1]) >= 190  # sums come in another order


def test_the_weights_that_are_left_do_better_than_the_largest() -> None:
    """What it is for: at the same number of weights, before any further training."""
    task = Points()
    torch.manual_seed(0)
    model = task.build()
    task.prepare(model)
    layers, kept = ["1", "3", "5"], 100
    weights = {name: model.get_submodule(name).get_parameter("weight") for name in layers}
    by_size = flat({name: weight.detach().abs() for name, weight in weights.items()})

    def accuracy_with(left: Tensor) -> float:
        parts = left.split([weight.numel() for weight in weights.values()])
        with torch.no_grad():
            for weight, part in zip(weights.values(), parts, strict=True):
                weight.mul_(part.reshape(weight.shape))
        return task.evaluate(model)

    def largest(scores: Tensor) -> Tensor:
        return torch.zeros(len(scores)).index_fill_(0, scores.topk(kept).indices, 1)

    dense = {name: value.clone() for name, value in model.state_dict().items()}
    plain = accuracy_with(largest(by_size))
    model.load_state_dict(dense)

    def train(given: nn.Module) -> None:
        task.train(given, 5)

    order = removal_order(model, layers, kept, 20, train)
    assert accuracy_with(largest(flat(order))) > plain + 5
