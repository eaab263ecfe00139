"""Masks hold through wrappers, compilers and the loops people train with, whatever the numbers."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autoprune.compression import report
from autoprune.compression.torch import AGPPruner, LevelPruner, achieved_sparsity, unwrap

Train = Callable[..., None]
HALF = [{"sparsity": 0.5}]
FILTERS = [{"sparsity": 0.5, "granularity": "filter"}]


def weight(model: nn.Module, layer: str = "fc", parameter: str = "weight") -> Tensor:
    return model.get_submodule(layer).get_parameter(parameter).detach()


def assert_sparse(model: nn.Module, masks: dict[str, dict[str, Tensor]]) -> None:
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            value = weight(model, layer, name)
            assert not bool(value[~keep].any()), f"{layer}.{name}"
            assert bool(value[keep].any()), f"{layer}.{name}"


def test_a_wrapper_that_adds_to_names(net: nn.Module, train: Train) -> None:
    class Wrapped(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.module(x)
            return out

    wrapped = Wrapped(net)
    _, masks = LevelPruner(wrapped, HALF).compress()
    assert list(masks) == ["module.conv0", "module.conv1", "module.fc"]
    train(wrapped, torch.optim.Adam(net.parameters(), lr=0.01))
    assert_sparse(wrapped, masks)
    assert achieved_sparsity(net) == 0.5


def test_data_parallel(net: nn.Module, train: Train) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    wrapped = nn.DataParallel(net)
    train(wrapped, torch.optim.Adam(wrapped.parameters(), lr=0.01))
    assert_sparse(net, masks)
    assert [row.layer for row in report(wrapped).rows] == ["module.conv0", "module.conv1", "module.fc"]


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """What was compiled here is not for other tests."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("before", [True, False])
def test_compiled(net: nn.Module, train: Train, before: bool) -> None:
    """Masked before it is compiled, or after; the masks move between two runs of the compiled model."""
    compiled: Any = None if before else torch.compile(net, backend="eager")
    pruner = AGPPruner(net, [{"initial_sparsity": 0.25, "final_sparsity": 0.75, "end_epoch": 1}])
    _, masks = pruner.compress()
    compiled = torch.compile(net, backend="eager") if compiled is None else compiled
    optimizer = torch.optim.Adam(compiled.parameters(), lr=0.01)
    train(compiled, optimizer, steps=3)
    assert_sparse(net, masks)
    gradient = net.get_submodule("fc").get_parameter("weight").grad
    assert gradient is not None
    assert not bool(gradient[~masks["fc"]["weight"]].any())
    pruner.update_epoch(1)
    train(compiled, optimizer, steps=3)
    assert_sparse(net, pruner.masks)
    assert achieved_sparsity(compiled) == 0.75
    plain = unwrap(copy.deepcopy(net), keep_zeros=True)
    batch = torch.randn(2, 1, 8, 8)
    assert torch.allclose(compiled.eval()(batch), plain.eval()(batch))


@pytest.mark.parametrize("options", [{"foreach": True}, {"fused": True}, {"foreach": False}, {"amsgrad": True}])
def test_ways_an_optimizer_runs(net: nn.Module, train: Train, options: dict[str, bool]) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    train(net, torch.optim.AdamW(net.parameters(), lr=0.01, **options))  # type: ignore[arg-type]
    assert_sparse(net, masks)


def test_an_optimizer_with_a_closure(net: nn.Module) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    optimizer: Any = torch.optim.LBFGS(net.parameters(), max_iter=4)
    batch = torch.randn(4, 1, 8, 8)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = net(batch).square().sum()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)
    assert_sparse(net, masks)


def test_mixed_precision(net: nn.Module) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    with torch.autocast("cpu", torch.bfloat16):
        out = net(torch.randn(4, 1, 8, 8))
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    torch.optim.AdamW(net.parameters(), lr=0.01).step()
    assert_sparse(net, masks)


def test_accumulated_gradients(net: nn.Module) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    plain = unwrap(copy.deepcopy(net), keep_zeros=True)
    for seed in range(3):
        batch = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        for model in (net, plain):
            model(batch).square().sum().backward()
    for layer, parameters in masks.items():
        masked, dense = (model.get_submodule(layer).get_parameter("weight").grad for model in (net, plain))
        assert masked is not None
        assert dense is not None
        assert torch.allclose(masked, torch.where(parameters["weight"], dense, 0), rtol=1e-5)


def test_a_frozen_layer_stays_frozen_and_sparse(net: nn.Module, train: Train) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    parameter = net.get_submodule("fc").get_parameter("weight").requires_grad_(False)
    before = parameter.clone()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.1)
    train(net, optimizer)
    assert torch.equal(parameter, before)
    parameter.requires_grad_(True)
    train(net, optimizer)
    assert_sparse(net, masks)
    assert not torch.equal(parameter.detach(), before)


def test_averages_of_a_masked_model(net: nn.Module, train: Train) -> None:
    _, masks = LevelPruner(net, HALF).compress()
    decay: Any = get_ema_multi_avg_fn
    average = AveragedModel(net, multi_avg_fn=decay(0.9))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(3):
        train(net, optimizer, steps=1)
        average.update_parameters(net)
    assert_sparse(average.module, masks)
    assert not torch.equal(weight(average.module), weight(net))
    assert list(average.module.state_dict()) == list(net.state_dict())


LOAD = """
import sys, torch
from autoprune.compression.torch import achieved_sparsity
torch.set_num_threads(1)
model = torch.load(sys.argv[1], weights_only=False)
zero = model[0].weight == 0
assert int(zero.sum()) == 24 and achieved_sparsity(model) == 0.5
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(4, 8)).square().sum().backward()
    assert not bool(model[0].weight.grad[zero].any())
    optimizer.step()
assert bool(((model[0].weight == 0) == zero).all())
"""


def test_a_saved_model_is_sparse_in_a_new_process(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    LevelPruner(model, HALF).compress()
    torch.save(model, tmp_path / "model.pt")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "model.pt")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_elements_then_filters(net: nn.Module, train: Train) -> None:
    dense = weight(net).clone()
    elements, filters = LevelPruner(net, HALF), LevelPruner(net, FILTERS)
    _, first = elements.compress()
    _, second = filters.compress()
    assert second["fc"]["weight"].any(1).sum() == 5
    train(net, torch.optim.Adam(net.parameters(), lr=0.01))
    for layer in first:
        meet = first[layer]["weight"] & second[layer]["weight"]
        assert_sparse(net, {layer: {"weight": meet}})
    elements.unwrap()
    assert_sparse(net, second)
    filters.unwrap()
    gone = ~(first["fc"]["weight"] & second["fc"]["weight"])
    assert torch.equal(weight(net)[gone], dense[gone])


def test_compressing_twice_after_training(net: nn.Module, train: Train) -> None:
    pruner = LevelPruner(net, FILTERS)
    _, first = pruner.compress()
    train(net, torch.optim.Adam(net.parameters(), lr=0.1))
    _, second = pruner.compress()
    assert all(torch.equal(own["weight"], second[layer]["weight"]) for layer, own in first.items())


DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])
SHAPES = st.lists(st.integers(1, 5), min_size=3, max_size=3)


def filled(layer: nn.Module, values: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameter = layer.get_parameter("weight")
    drawn = torch.randn(parameter.shape, generator=generator)
    with torch.no_grad():
        parameter.copy_((drawn * 2).round() if values == "integers" else drawn)


@given(SHAPES, DTYPES, st.floats(0, 0.999), st.sampled_from(["integers", "reals"]), st.booleans(), st.integers(0, 99))
@settings(max_examples=50)
def test_the_number_of_pruned_filters_is_exact(
    shape: list[int], dtype: torch.dtype, sparsity: float, values: str, transposed: bool, seed: int
) -> None:
    inputs, outputs, size = shape
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    layer = kind(inputs, outputs, size, dtype=dtype)
    filled(layer, values, seed)
    first = layer.weight.detach().transpose(0, 1) if transposed else layer.weight.detach()
    norms = first.double().abs().sum((1, 2))
    model = nn.Sequential(layer)
    _, masks = LevelPruner(model, [{"sparsity": sparsity, "granularity": "filter"}]).compress()
    keep = masks["0"]["weight"]
    kept = (keep.transpose(0, 1) if transposed else keep).flatten(1)
    assert torch.equal(kept.any(1), kept.all(1))
    assert int((~kept.any(1)).sum()) == math.floor(outputs * sparsity + 1e-9)
    if bool(kept.any()) and not bool(kept.all()):
        assert norms[~kept.all(1)].max() <= norms[kept.all(1)].min() * (1 + 2e-2)


@given(st.sampled_from(["element", "filter"]), DTYPES, st.sampled_from(["integers", "reals"]), st.integers(0, 999))
@settings(max_examples=20)
def test_masks_nest_while_a_schedule_rises(granularity: str, dtype: torch.dtype, values: str, seed: int) -> None:
    """The weights are drawn anew before every epoch, as if training could do anything."""
    layer = nn.Linear(7, 9, dtype=dtype)
    model = nn.Sequential(layer)
    filled(layer, values, seed)
    entry = {"initial_sparsity": 0.1, "final_sparsity": 0.8, "end_epoch": 5, "granularity": granularity}
    pruner = AGPPruner(model, [entry])
    kept = pruner.compress()[1]["0"]["weight"]
    for epoch in range(1, 7):
        filled(layer, values, seed * 7 + epoch)
        pruner.step()
        pruner.update_epoch(epoch)
        now = pruner.masks["0"]["weight"]
        assert not bool((now & ~kept).any())
        kept = now
    units = kept if granularity == "element" else kept.any(1)
    assert int((~units).sum()) == math.floor(units.numel() * 0.8 + 1e-9)


@given(st.floats(0, 0.99), st.integers(0, 999), st.floats(0.01, 10))
@settings(max_examples=30)
def test_clipping_equals_that_of_a_plain_sparse_model(sparsity: float, seed: int, limit: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    _, masks = LevelPruner(model, [{"sparsity": sparsity}]).compress()
    plain = unwrap(copy.deepcopy(model), keep_zeros=True)
    batch = torch.randn(5, 6)
    for each in (model, plain):
        each(batch).square().sum().backward()
    for layer, parameters in masks.items():
        gradient = plain.get_submodule(layer).get_parameter("weight").grad
        assert gradient is not None
        gradient[~parameters["weight"]] = 0
    norms = [nn.utils.clip_grad_norm_(each.parameters(), limit) for each in (model, plain)]
    assert norms[0] == norms[1]
    for masked, dense in zip(model.parameters(), plain.parameters(), strict=True):
        assert masked.grad is not None
        assert dense.grad is not None
        assert torch.equal(masked.grad, dense.grad)


@given(st.sampled_from(["element", "filter"]), DTYPES, st.floats(0, 0.999), st.integers(0, 999))
@settings(max_examples=40)
def test_dense_weights_come_back_bit_for_bit(granularity: str, dtype: torch.dtype, sparsity: float, seed: int) -> None:
    """Also -0.0, infinities and the smallest numbers."""
    layer = nn.Linear(7, 9, dtype=dtype)
    filled(layer, "reals", seed)
    with torch.no_grad():
        layer.weight[0, :5] = torch.tensor([-0.0, 0.0, torch.finfo(dtype).tiny, float("inf"), -float("inf")])
    bits = layer.weight.detach().clone().view(torch.uint8)
    model = nn.Sequential(layer)
    pruner = LevelPruner(model, [{"sparsity": sparsity, "granularity": granularity}])
    pruner.compress()
    pruner.unwrap()
    assert torch.equal(layer.weight.detach().view(torch.uint8), bits)
