"""Masks work with the kinds of layers and the types of numbers that people have."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch import AGPPruner, LevelPruner, achieved_sparsity, unwrap
from autoprune.errors import UsageError

Train = Callable[..., None]
HALF = [{"sparsity": 0.5}]
FILTERS = [{"sparsity": 0.5, "granularity": "filter"}]


def weight(model: nn.Module, layer: str = "fc", parameter: str = "weight") -> Tensor:
    return model.get_submodule(layer).get_parameter(parameter).detach()


def step(model: nn.Module, *inputs: Tensor, **options: Any) -> None:
    """One step of Adam, which moves every weight that has a gradient by the same amount."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1, **options)
    torch.autograd.backward(_first(model(*inputs)).square().sum())
    optimizer.step()


def _first(out: Any) -> Tensor:
    tensor: Tensor = out[0] if isinstance(out, tuple) else out
    return tensor


def assert_sparse(model: nn.Module, masks: dict[str, dict[str, Tensor]]) -> None:
    for layer, parameters in masks.items():
        for name, keep in parameters.items():
            value = weight(model, layer, name)
            assert not bool(value[~keep].any()), f"{layer}.{name}"
            assert bool(value[keep].any()), f"{layer}.{name}"


def test_attention(train: Train) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return _first(self.attend(x, x, x))

    model = Attention()
    assert list(LevelPruner(model, HALF).compress()[1]) == ["attend.out_proj"]
    unwrap(model)
    entries = [{"sparsity": 0.5}, {"sparsity": 0.75, "op_types": ["MultiheadAttention"]}]
    _, masks = LevelPruner(model, entries).compress()
    counts = {layer: {name: int((~keep).sum()) for name, keep in own.items()} for layer, own in masks.items()}
    assert counts == {"attend": {"in_proj_weight": 144}, "attend.out_proj": {"weight": 48}}
    step(model, torch.randn(3, 5, 8))
    assert_sparse(model, masks)


def test_attention_with_projections_of_their_own() -> None:
    layer = nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
    _, masks = LevelPruner(layer, [{"sparsity": 0.5, "op_types": ["MultiheadAttention"]}]).compress()
    assert set(masks[""]) == {"q_proj_weight", "k_proj_weight", "v_proj_weight"}
    assert [int(keep.sum()) for keep in masks[""].values()] == [32, 24, 16]


def test_an_encoder_layer_on_its_fast_path() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    entries = [{"sparsity": 0.5}, {"sparsity": 0.5, "op_types": ["MultiheadAttention"]}]
    _, masks = LevelPruner(model, entries).compress()
    assert set(masks) == {"self_attn", "self_attn.out_proj", "linear1", "linear2"}
    batch = torch.randn(3, 5, 8)
    step(model, batch)
    assert_sparse(model, masks)
    plain = unwrap(copy.deepcopy(model), keep_zeros=True).train()
    with torch.no_grad():
        fast = model.eval()(batch)
    assert torch.allclose(fast, plain(batch), atol=1e-5)
    dense = unwrap(copy.deepcopy(model)).eval()
    with torch.no_grad():
        assert not torch.allclose(fast, dense(batch), atol=1e-3)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: Any) -> None:
    model = nn.Sequential(kind(4, 6, num_layers=2, bidirectional=True))
    with pytest.raises(UsageError):
        LevelPruner(model, HALF)
    _, masks = LevelPruner(model, [{"sparsity": 0.5, "op_types": [kind.__name__]}]).compress()
    assert set(masks["0"]) == {
        f"weight_{which}_l{layer}{way}" for which in ("ih", "hh") for layer in (0, 1) for way in ("", "_reverse")
    }
    model.get_submodule("0").flatten_parameters()  # type: ignore[operator]
    step(model, torch.randn(5, 3, 4))
    assert_sparse(model, masks)
    plain = kind(4, 6, num_layers=2, bidirectional=True)
    plain.load_state_dict({name.removeprefix("0."): value for name, value in model.state_dict().items()})
    batch = torch.randn(5, 3, 4)
    assert torch.equal(plain(batch)[0], model(batch)[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_an_embedding_with_padding(sparse: bool) -> None:
    layer = nn.Embedding(10, 4, padding_idx=3, sparse=sparse)
    model = nn.Sequential(layer)
    dense = layer.weight.detach().clone()
    _, masks = LevelPruner(model, HALF).compress()
    keep = masks["0"]["weight"]
    assert not bool(keep[3].any())
    optimizer: Any = torch.optim.SparseAdam([layer.weight]) if sparse else torch.optim.Adam([layer.weight])
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.tensor([1, 3, 9, 9])).square().sum().backward()
        optimizer.step()
    now = layer.weight.detach()
    assert not bool(now[~keep].any())
    assert bool((now[[1, 9]][keep[[1, 9]]] != dense[[1, 9]][keep[[1, 9]]]).all())
    assert torch.equal(now[[0, 2]], torch.where(keep, dense, 0)[[0, 2]])


def test_rows_of_an_embedding_and_bags() -> None:
    model = nn.Sequential(nn.EmbeddingBag(10, 4))
    _, masks = LevelPruner(model, FILTERS).compress()
    assert sorted(masks["0"]["weight"].sum(1).tolist()) == [0] * 5 + [4] * 5
    step(model, torch.randint(10, (2, 6)))
    assert_sparse(model, masks)


def test_channels_of_batchnorm(net: nn.Module, train: Train) -> None:
    gamma = net.get_submodule("bn").get_parameter("weight")
    with torch.no_grad():
        gamma.copy_(torch.tensor([0.5, -3.0, 0.1, 2.0]))
        net.get_submodule("bn").get_parameter("bias").fill_(1.0)
    pruner = LevelPruner(net, [{"sparsity": 0.5, "op_types": ["BatchNorm2d"]}])
    _, masks = pruner.compress()
    kept = [False, True, False, True]
    assert {name: keep.tolist() for name, keep in masks["bn"].items()} == {"weight": kept, "bias": kept}
    train(net, torch.optim.Adam(net.parameters(), lr=0.01))
    assert_sparse(net, masks)
    out = net.get_submodule("bn")(torch.randn(2, 4, 5, 5))
    assert out.abs().amax((0, 2, 3)).bool().tolist() == kept
    pruner.unwrap()
    assert weight(net, "bn")[[0, 2]].tolist() == pytest.approx([0.5, 0.1])
    assert weight(net, "bn", "bias")[[0, 2]].tolist() == [1.0, 1.0]


def test_batchnorm_without_a_shift_or_any_weight() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False))
    model.get_submodule("0").register_parameter("bias", None)
    _, masks = LevelPruner(model, [{"sparsity": 0.5, "op_types": ["BatchNorm1d"]}]).compress()
    assert {name: list(own) for name, own in masks.items()} == {"0": ["weight"]}


@pytest.mark.parametrize("groups", [1, 2])
def test_filters_of_a_transposed_convolution(groups: int) -> None:
    """Its weight is (inputs, outputs / groups, height, width): each output takes the inputs of its group."""
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)
    model = nn.Sequential(layer)
    by_group = layer.weight.detach().abs().view(groups, 4 // groups, 6 // groups, 9)
    gone = sorted(np.argsort(by_group.sum((1, 3)).flatten().numpy(), kind="stable")[:3].tolist())
    _, masks = LevelPruner(model, FILTERS).compress()
    assert int((~masks["0"]["weight"]).sum()) == layer.weight.numel() // 2
    silent = ~model(torch.randn(2, 4, 5, 5)).abs().amax((0, 2, 3)).bool()
    assert np.flatnonzero(silent.numpy()).tolist() == gone


def test_a_pattern_in_a_grouped_transposed_convolution_stays_within_a_group() -> None:
    layer = nn.ConvTranspose1d(12, 8, 3, groups=2, bias=False)
    _, masks = LevelPruner(nn.Sequential(layer), [{"granularity": "2:4"}]).compress()
    inputs_of_each = masks["0"]["weight"].view(2, 6, 4, 3).movedim(1, -1)
    assert set(inputs_of_each[..., :4].sum(-1).flatten().tolist()) == {2}
    assert set(inputs_of_each[..., 4:].sum(-1).flatten().tolist()) == {2}


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64, torch.complex128]
)
def test_types(dtype: torch.dtype) -> None:
    layer = nn.Linear(6, 8, dtype=dtype)
    model = nn.Sequential(layer)
    magnitude = layer.weight.detach().abs().flatten()
    pruner = LevelPruner(model, HALF)
    _, masks = pruner.compress()
    dense = layer.weight.detach().clone()
    order = torch.sort(magnitude, stable=True).indices
    assert set(masks["0"]["weight"].flatten().logical_not().nonzero().flatten().tolist()) == set(order[:24].tolist())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(3, 6, dtype=dtype)).abs().square().sum().backward()
        optimizer.step()
    assert_sparse(model, masks)
    assert not torch.equal(layer.weight.detach(), dense)
    pruner.unwrap()
    assert layer.weight.dtype == dtype
    assert bool(layer.weight.detach().all())


@pytest.mark.parametrize(
    "change", [nn.Module.half, nn.Module.bfloat16, nn.Module.double, lambda m: m.to(torch.float16)]
)
def test_a_masked_model_changes_its_type(net: nn.Module, change: Callable[[nn.Module], nn.Module]) -> None:
    pruner = AGPPruner(net, [{"initial_sparsity": 0.25, "final_sparsity": 0.5, "end_epoch": 1}])
    _, masks = pruner.compress()
    change(net)
    net.get_submodule("fc")(torch.ones(2, 96, dtype=weight(net).dtype)).square().sum().backward()
    torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=0.1).step()
    assert_sparse(net, masks)
    pruner.update_epoch(1)
    assert achieved_sparsity(net) == 0.5
    assert not bool((pruner.masks["fc"]["weight"] & ~masks["fc"]["weight"]).any())
    pruner.unwrap()
    assert bool(weight(net).all())


def test_a_parametrised_weight_is_no_parameter_to_mask(net: nn.Module, train: Train) -> None:
    nn.utils.parametrizations.weight_norm(net.get_submodule("fc"))
    for entry in (HALF[0], {"sparsity": 0.5, "op_names": ["fc"]}):
        with pytest.raises(UsageError, match="given 'fc', whose weight is parametrized"):
            LevelPruner(net, [entry])
    _, masks = LevelPruner(net, [*HALF, {"exclude": True, "op_names": ["fc"]}]).compress()
    assert list(masks) == ["conv0", "conv1"]
    train(net, torch.optim.Adam(net.parameters(), lr=0.01))
    assert_sparse(net, masks)
    nn.utils.parametrize.remove_parametrizations(net.get_submodule("fc"), "weight")
    assert list(LevelPruner(net, [{"sparsity": 0.5, "op_names": ["fc"]}]).compress()[1]) == ["fc"]


def test_a_model_without_values(net: nn.Module) -> None:
    model = copy.deepcopy(net).to("meta")
    with pytest.raises(UsageError, match="given layer 'conv0' on the meta device; expected weights with values"):
        LevelPruner(model, HALF).compress()
    assert not any("_autoprune_masks" in module.__dict__ for module in model.modules())


def test_a_compiled_model_is_pruned_by_its_own_names(net: nn.Module) -> None:
    compiled: Any = torch.compile(net, backend="eager")
    pruner = LevelPruner(compiled, [{"sparsity": 0.5, "op_names": ["fc"]}])
    _, masks = pruner.compress()
    assert list(masks) == ["fc"]
    pruner.update_epoch(1)
    assert int((net.get_submodule("fc").get_parameter("weight") == 0).sum()) == 480
