"""Pruners that train before they prune: Slim and ADMM, against their formulas in numpy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.torch import ADMMPruner, SlimPruner
from autoprune.errors import UsageError
from tests.compression.loops import epoch, images

Floats = NDArray[np.float64]


def norms(*gammas: list[float]) -> nn.Sequential:
    """Normalisations one after another, with these scales."""
    model = nn.Sequential(*(nn.BatchNorm2d(len(gamma)) for gamma in gammas))
    with torch.no_grad():
        for layer, gamma in zip(model, gammas, strict=True):
            assert isinstance(layer, nn.BatchNorm2d)
            layer.weight.copy_(torch.tensor(gamma))
            layer.bias.fill_(1.0)
    return model


def silent(output: Tensor, target: Tensor) -> Tensor:
    """A loss whose gradient is zero: what moves is moved by the penalty."""
    return 0 * output.sum()


BN = {"op_types": ["BatchNorm2d"]}


def test_one_threshold_for_all_layers() -> None:
    model = norms([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, -1.0, -2.0, -3.0, -4.0])
    _, masks = SlimPruner(model, [{"sparsity": 0.2, **BN}], training_epochs=0).compress()
    for name in ("0", "1"):
        assert masks[name]["weight"].tolist() == masks[name]["bias"].tolist() == [False, True, True, True, True]
    model = norms([5.0, 6.0, 7.0], [1.0, 2.0, 8.0])
    _, masks = SlimPruner(model, [{"sparsity": 0.5, **BN}], training_epochs=0).compress()
    assert masks["0"]["weight"].tolist() == [False, True, True]
    assert masks["1"]["weight"].tolist() == [False, False, True]


def test_each_layer_its_own_threshold_where_the_entry_says_so() -> None:
    model = norms([5.0, 6.0, 7.0, 9.0], [1.0, 2.0, 8.0, 3.0])
    entries = [{"sparsity": 0.5, "allocation": "uniform", **BN}]
    _, masks = SlimPruner(model, entries, training_epochs=0).compress()
    assert masks["0"]["weight"].tolist() == [False, False, True, True]
    assert masks["1"]["weight"].tolist() == [False, False, True, True]


def test_no_layer_is_emptied() -> None:
    model = norms([0.1, 0.2, 0.3], [5.0, 6.0, 7.0])
    _, masks = SlimPruner(model, [{"total_sparsity": 0.5, **BN}], training_epochs=0).compress()
    assert masks["0"]["weight"].tolist() == [False, False, True]
    assert masks["1"]["weight"].tolist() == [False, True, True]


@pytest.mark.parametrize("scale", [1e-4, 0.25])
def test_the_penalty_is_the_scale_times_the_sign_of_gamma(scale: float) -> None:
    gamma = np.array([0.5, -2.0, 3.0, -0.125])
    model = nn.Sequential(nn.Conv2d(1, 4, 1), *norms(gamma.tolist()))
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    pruner = SlimPruner(
        model,
        [{"sparsity": 0, **BN}],
        epoch([(torch.randn(2, 1, 3, 3), torch.zeros(2))] * 3),
        optimizer,
        silent,
        training_epochs=2,
        scale=scale,
    )
    pruner.compress()
    for _ in range(6):
        gamma -= 0.5 * scale * np.sign(gamma)
    assert np.allclose(model[1].weight.detach().numpy(), gamma, atol=1e-6)
    for name in ("0.weight", "0.bias", "1.bias"):
        assert torch.equal(model.state_dict()[name], before[name])


def test_only_the_layers_that_are_pruned_are_penalised() -> None:
    model = norms([1.0, 2.0], [1.0, 2.0])
    data = [(torch.randn(2, 2, 3, 3), torch.zeros(2))]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    entries = [{"sparsity": 0, "op_names": ["1"], "scale": 0.5}]
    SlimPruner(model, entries, batches=data, loss=silent, optimizer=optimizer).compress()
    assert model[0].weight.tolist() == [1.0, 2.0]
    assert model[1].weight.tolist() == [0.5, 1.5]


def test_pruned_channels_stay_pruned_while_it_trains_again() -> None:
    model = norms([1.0, 2.0, 3.0, 4.0])
    data = [(torch.randn(2, 4, 3, 3), torch.zeros(2))] * 4
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pruner = SlimPruner(model, [{"sparsity": 0.75, **BN}], batches=data, loss=silent, optimizer=optimizer)
    for sparsity, kept in ((0.25, 3), (0.5, 2), (0.75, 1)):
        pruner.prune([replace(budget, sparsity=sparsity) for budget in pruner.plan()])
        assert int((model[0].weight != 0).sum()) == int((model[0].bias != 0).sum()) == kept
    assert model[0].weight[3] != 0


def test_data_is_needed_to_train_and_only_then() -> None:
    model = norms([1.0, 2.0])
    with pytest.raises(UsageError, match="SlimPruner: given no data; expected trainer, optimizer and criterion"):
        SlimPruner(model, [{"sparsity": 0.5, **BN}], training_epochs=1)
    assert SlimPruner(model, [{"sparsity": 0.5, **BN}]).compress()[1]["0"]["weight"].tolist() == [False, True]
    with pytest.raises(UsageError, match="SlimPruner: given batches without an optimizer"):
        SlimPruner(model, [{"sparsity": 0.5, **BN}], batches=[], loss=silent)
    with pytest.raises(UsageError, match=r"training_epochs: given -1; expected a whole number, 0 or more"):
        SlimPruner(model, [{"sparsity": 0.5, **BN}], training_epochs=-1)
    with pytest.raises(UsageError, match=r"scale: given -1.0; expected a number, 0 or more"):
        SlimPruner(model, [{"sparsity": 0.5, **BN}], training_epochs=0, scale=-1.0)
    with pytest.raises(UsageError, match="a type that it applies to"):
        SlimPruner(nn.Sequential(nn.Linear(2, 2), *model), [{"sparsity": 0.5, "op_types": ["Linear"]}])


# ADMM


class Table(nn.Module):
    """Weights that are trained to equal the target of a batch."""

    def __init__(self, values: Floats) -> None:
        super().__init__()
        self.fc = nn.Linear(values.shape[1], values.shape[0], bias=False).double()
        with torch.no_grad():
            self.fc.weight.copy_(torch.from_numpy(values))

    def forward(self, _: Tensor) -> Tensor:
        return self.fc.weight


def half_square(output: Tensor, target: Tensor) -> Tensor:
    """Its gradient is output - target."""
    return 0.5 * (output - target).square().sum()


def smallest_to_zero(values: Floats, k: int) -> Floats:
    sparse = values.copy().ravel()
    sparse[np.argsort(np.abs(sparse), kind="stable")[:k]] = 0
    return sparse.reshape(values.shape)


def smallest_rows_to_zero(values: Floats, k: int) -> Floats:
    sparse = values.copy()
    sparse[np.argsort((values**2).sum(axis=1), kind="stable")[:k]] = 0
    return sparse


def by_hand(
    weight: Floats, target: Floats, rho: float, iterations: int, project: Callable[[Floats], Floats]
) -> tuple[Floats, list[float]]:
    """ADMM with three gradient steps of .1 on |W - T|^2 / 2: the trained weights and the residuals."""
    weight, sparse, dual, residuals = weight.copy(), weight.copy(), np.zeros_like(weight), []
    for _ in range(iterations):
        for _ in range(3):
            weight -= 0.1 * ((weight - target) + rho * (weight - sparse + dual))
        sparse = project(weight + dual)
        dual = dual + weight - sparse
        residuals.append(float(np.sqrt(((weight - sparse) ** 2).sum())))
    return weight, residuals


@pytest.mark.parametrize(
    ("granularity", "k", "project"), [("element", 7, smallest_to_zero), ("filter", 2, smallest_rows_to_zero)]
)
@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_weights_duals_and_projections_follow_the_formulas(
    granularity: str, k: int, project: Callable[[Floats, int], Floats], iterations: int
) -> None:
    rng = np.random.default_rng(3)
    start, target = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    model = Table(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = [(torch.zeros(1), torch.from_numpy(target))] * 4
    pruner = ADMMPruner(
        model,
        [{"sparsity": k / (15 if granularity == "element" else 5), "rho": 0.7, "granularity": granularity}],
        epoch(data),
        optimizer,
        half_square,
        training_batches=3,
        iterations=iterations,
    )
    _, masks = pruner.compress()
    weight, residuals = by_hand(start, target, 0.7, iterations, lambda values: project(values, k))
    cut = project(weight, k)
    assert np.array_equal(masks["fc"]["weight"].numpy(), cut != 0)
    assert np.allclose(model.fc.weight.detach().numpy(), cut, atol=1e-12)
    assert np.allclose(pruner.residuals, residuals, atol=1e-12)
    pruner.unwrap()
    assert np.allclose(model.fc.weight.detach().numpy(), weight, atol=1e-12)


def test_the_residual_shrinks() -> None:
    rng = np.random.default_rng(0)
    model = Table(rng.normal(size=(6, 8)))
    data = [(torch.zeros(1), torch.from_numpy(rng.normal(size=(6, 8))))] * 20
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    entries = [{"sparsity": 0.75, "rho": 1.0}]
    pruner = ADMMPruner(
        model, entries, batches=data, loss=half_square, optimizer=optimizer, iterations=30, training_epochs=2
    )
    for _ in range(2):
        pruner.compress()
        assert pruner.residuals[-1] < 0.01 * pruner.residuals[0]
        assert len(pruner.residuals) == 30
        pruner.unwrap()
        with torch.no_grad():
            model.fc.weight.copy_(torch.from_numpy(rng.normal(size=(6, 8))))


def test_the_nearest_tensor_with_whole_rows_of_zeros_loses_the_smallest_squares() -> None:
    model = Table(np.array([[3.0, 0.0, 0.0], [1.5, 1.5, 1.0]]))
    data = [(torch.zeros(1), torch.zeros(2, 3))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    entries = [{"sparsity": 0.5, "granularity": "filter"}]
    pruner = ADMMPruner(model, entries, batches=data, loss=half_square, optimizer=optimizer, iterations=1)
    assert pruner.compress()[1]["fc"]["weight"].all(1).tolist() == [True, False]
    assert pruner.residuals == pytest.approx([5.5**0.5])


def test_one_budget_for_all_layers(net: Any) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    pruner = ADMMPruner(
        net, [{"total_sparsity": 0.8}], epoch(images(3)), optimizer, F.cross_entropy, iterations=2, rho=0.1
    )
    _, masks = pruner.compress()
    trained = torch.cat([value.flatten() for value in dense(pruner, list(masks))])
    keep = torch.cat([layer["weight"].flatten() for layer in masks.values()])
    assert int((~keep).sum()) == int(0.8 * keep.numel())
    assert trained[keep].abs().min() >= trained[~keep].abs().max()


def dense(pruner: Any, names: list[str]) -> list[Tensor]:
    model = copy.deepcopy(pruner).unwrap()
    return [model.get_submodule(name).weight.detach() for name in names]


def test_the_batch_norm_of_the_printed_sample() -> None:
    model = nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.ReLU(), nn.Flatten(), nn.Linear(360, 10))
    trainer, optimizer = epoch(images(3)), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    config_list = [{"sparsity": 0.8, "op_types": ["BatchNorm2d"]}]
    for pruner in (
        SlimPruner(copy.deepcopy(model), config_list, training_epochs=0),
        ADMMPruner(model, config_list, trainer, optimizer, criterion, training_batches=20),
        SlimPruner(model, config_list, trainer, optimizer, criterion, training_epochs=1),
    ):
        masked_model, masks = pruner.compress()
        assert masked_model is pruner.model
        assert {name: int(keep.sum()) for name, keep in masks["1"].items()} == {"weight": 2, "bias": 2}


def test_steps_of_each_iteration(net: Any) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    steps: list[int] = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    entries = [{"sparsity": 0.5}]
    data: dict[str, Any] = {"batches": images(5), "loss": F.cross_entropy, "optimizer": optimizer}
    ADMMPruner(net, entries, **data, iterations=3, training_epochs=2).compress()
    assert len(steps) == 3 * 2 * 5
    steps.clear()
    ADMMPruner(net, entries, **data, iterations=3, training_epochs=2, training_batches=4).compress()
    assert len(steps) == 3 * 2 * 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "ADMMPruner: given no data"),
        ({"batches": [], "loss": silent}, "given batches without an optimizer"),
        ({"rho": 0}, r"rho: given 0; expected a number above 0"),
        ({"iterations": 0}, r"iterations: given 0; expected a whole number, 1 or more"),
        ({"training_epochs": 0}, r"training_epochs: given 0; expected a whole number, 1 or more"),
    ],
)
def test_mistakes_are_said_when_the_pruner_is_built(net: Any, more: dict[str, Any], said: str) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    data = {} if not more or "batches" in more else {"trainer": epoch([]), "optimizer": optimizer}
    with pytest.raises(UsageError, match=said):
        ADMMPruner(net, [{"sparsity": 0.5}], **data, **more)
