"""The nets of the zoo run, train and repeat themselves; the recount agrees with sums done by hand and with torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.compression.recount import ATTENTION, call, kept_shape, layer_macs, macs, parameters, shape_count, shapes
from tests.compression.zoo import ZOO
from tests.compression.zoo_convolutions import BasicBlock, Bottleneck, resnet
from tests.compression.zoo_sequences import TiedEmbedding

every_net = pytest.mark.parametrize("name", ZOO)


def outputs(result: Any) -> Iterator[Tensor]:
    """Every tensor of what a net returns."""
    if isinstance(result, Tensor):
        yield result
    else:
        for part in result.values() if isinstance(result, dict) else result:
            yield from outputs(part)


@every_net
def test_gradients_reach_every_parameter(name: str) -> None:
    model = ZOO[name].build().train()
    loss = torch.stack([F.mse_loss(out, torch.randn_like(out)) for out in outputs(call(model, ZOO[name].example()))])
    torch.autograd.backward(loss.sum())
    for parameter, values in model.named_parameters():
        assert values.grad is not None, parameter
        assert bool(values.grad.isfinite().all()), parameter
        assert bool(values.grad.any()) or "bias" in parameter, parameter


@every_net
def test_two_builds_and_two_runs_are_the_same(name: str) -> None:
    one, other = ZOO[name].build().eval(), ZOO[name].build().eval()
    runs = [call(one, ZOO[name].example()), call(one, ZOO[name].example()), call(other, ZOO[name].example())]
    first, *rest = [list(outputs(run)) for run in runs]
    assert all(torch.equal(a, b) for run in rest for a, b in zip(first, run, strict=True))


@every_net
def test_the_output_depends_on_the_input_and_keeps_its_size(name: str) -> None:
    """A net whose output is all bias would hide mistakes, and a huge one would show rounding as one."""
    for out in outputs(call(ZOO[name].build().eval(), ZOO[name].example())):
        assert float((out[0] - out[1]).detach().abs().max()) > 0.01
        assert float(out.detach().abs().max()) < 20


@every_net
def test_no_number_has_a_value_that_hides_mistakes(name: str) -> None:
    model = ZOO[name].build()
    for key, values in model.state_dict().items():
        if "num_batches" in key:
            continue
        assert bool((values != 0).all()), key
        assert bool((values != 1).all()), key
        assert values.numel() == 1 or float(values.std()) > 0.01, key


@every_net
def test_a_net_is_small_and_leaves_the_random_numbers_alone(name: str) -> None:
    state = torch.get_rng_state()
    model = ZOO[name].build()
    ZOO[name].example()
    assert torch.equal(state, torch.get_rng_state())
    assert parameters(model) == sum(values.numel() for values in model.parameters()) < 1_000_000


# Recount


@every_net
def test_the_recount_agrees_with_the_flop_counter_of_torch(name: str) -> None:
    """Which sees nothing of recurrent layers, and attention only where it is made of matrix products."""
    model = ZOO[name].build().eval()
    layers = layer_macs(model, ZOO[name].example())
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call(model, ZOO[name].example())
    assert 2 * sum(count for layer, count in layers.items() if layer != "lstm") == counter.get_total_flops()


def test_convolutions_by_hand() -> None:
    """Of 8 x 8 pixels: 6 x 6 outputs of 4 channels over 3 x 9 values; in two groups, 6 channels over 2 x 1."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2))
    model.append(nn.ConvTranspose2d(6, 2, 2, 2)).append(nn.Flatten()).append(nn.Linear(2 * 12 * 12, 5))
    assert layer_macs(model, torch.randn(1, 3, 8, 8)) == {
        "": 0,
        "0": 36 * 4 * 27,
        "1": 0,
        "2": 0,
        "3": 36 * 6 * 2,
        "4": 36 * 6 * 2 * 4,
        "5": 0,
        "6": 288 * 5,
    }
    assert macs(model, torch.randn(7, 3, 8, 8)) == 7 * (36 * (4 * 27 + 6 * 2 + 6 * 2 * 4) + 288 * 5)
    assert parameters(model) == (4 * 27 + 4) + 8 + (6 * 2 + 6) + (6 * 2 * 4 + 2) + (288 * 5 + 5)


def test_resnets_of_full_width_have_the_published_size() -> None:
    """11,689,512 and 25,557,032 parameters, and 1,814,073,344 and 4,089,184,256 MACs, with a head of 1000 classes."""
    with torch.device("meta"):
        small, large = resnet(BasicBlock, (2, 2, 2, 2), 64), resnet(Bottleneck, (3, 4, 6, 3), 64)
        image = torch.empty(1, 3, 224, 224)
    assert parameters(small) == 11_689_512 - 990 * 513
    assert parameters(large) == 25_557_032 - 990 * 2049
    assert macs(small, image) == 1_814_073_344 - 990 * 512
    assert macs(large, image) == 4_089_184_256 - 990 * 2048


def test_recurrent_layers_by_hand() -> None:
    """Seven steps: first 4 gates of 3 units over 5 + 3 values, both ways; then over 6 + 3."""
    model = nn.LSTM(5, 3, 2, batch_first=True, bidirectional=True)
    assert macs(model, torch.randn(2, 7, 5)) == 2 * 7 * 2 * 12 * (8 + 9)


def test_attention_by_hand() -> None:
    """Three projections of 6 x 6 and one out; then 5 x 5 weights over 6 values, twice."""
    model = nn.MultiheadAttention(6, 2, batch_first=True)
    x = torch.randn(1, 5, 6)
    assert macs(model, (x, x, x)) == 5 * 6 * 6 * 4 + 2 * 5 * 5 * 6

    class Function(nn.Module):
        def forward(self, query: Tensor, value: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(query, query, value=value)

    assert layer_macs(Function(), (torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 8)))[ATTENTION] == 6 * 25 * (4 + 8)


def test_a_module_called_twice_counts_twice_and_a_tied_weight_once() -> None:
    layer = nn.Linear(4, 4)
    assert macs(nn.Sequential(layer, layer), torch.randn(3, 4)) == 2 * 3 * 16
    assert parameters(nn.Sequential(layer, layer)) == 20
    assert parameters(TiedEmbedding(4, 10)) == 10 * 4 + (4 * 32 + 32) + (32 * 4 + 4)


def test_a_layer_without_a_formula_is_refused_and_the_net_is_left_alone() -> None:
    with pytest.raises(AssertionError, match="no formula for 0"):
        macs(nn.Sequential(nn.RNN(2, 2)), torch.ones(1, 2))
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    macs(model, torch.ones(1, 2))
    assert model.training
    assert not model[0]._forward_hooks


def test_what_is_left_of_a_mask() -> None:
    mask = torch.ones(4, 3, 2)
    mask[1] = 0
    mask[:, 2] = 0
    mask[0, 0, 0] = 0
    assert kept_shape(mask) == (3, 2, 2)
    assert kept_shape(torch.zeros(3, 2)) == (0, 0)
    assert shape_count([(3, 2), (4,), ()]) == 11
    assert shapes(nn.Linear(3, 2)) == {"weight": (2, 3), "bias": (2,)}
