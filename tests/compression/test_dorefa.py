"""DoReFa-Net against its formulas, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits
from torch import nn

from autoprune.compression.torch.quantizers.dorefa import DoReFaQuantizer


def layer(weight: Any, bits: int, kinds: str = "weight") -> nn.Sequential:
    """One that returns its weight for an input of ones' basis."""
    values = torch.tensor(np.asarray(weight), dtype=torch.float32).view(1, -1)
    model = nn.Sequential(nn.Linear(values.shape[1], 1, bias=False))
    model.load_state_dict({"0.weight": values})
    DoReFaQuantizer(model, [{"quant_types": kinds, "quant_bits": bits}]).compress()
    return model


def used(model: nn.Sequential) -> Any:
    return model(torch.eye(model[0].in_features)).detach().numpy().ravel()


WEIGHTS = hnp.arrays(np.float32, 9, elements=st.floats(-8, 8, width=16))


@given(weight=WEIGHTS, bits=st.integers(2, 10))
def test_weights_are_squashed_and_rounded(weight: Any, bits: int) -> None:
    levels = 2**bits - 1
    squashed = np.tanh(weight.astype(np.float64))
    unit = squashed / (2 * np.abs(squashed).max() or 1.0) + 0.5
    quantized = used(layer(weight, bits))
    assert np.abs(quantized - (2 * unit - 1)).max() <= 1.001 / levels
    integers = (quantized + 1) / 2 * levels
    assert np.abs(integers - np.round(integers)).max() < 1e-3
    clear = np.abs(levels * unit % 1 - 0.5) > 1e-3
    assert np.array_equal(np.round(integers)[clear], np.round(levels * unit)[clear])
    assert len(np.unique(quantized)) <= 2**bits


def test_two_bits_by_hand() -> None:
    weight = np.arctanh([-0.8, -0.3, -0.2, 0.2, 0.5, 0.6])
    assert used(layer(weight, 2)) == pytest.approx([-1, -1 / 3, -1 / 3, 1 / 3, 1 / 3, 1])


def test_one_bit_is_the_sign_times_the_mean() -> None:
    assert used(layer([-3.0, 1.0, 0.5, -1.5], 1)) == pytest.approx([-1.5, 1.5, 1.5, -1.5])
    model = layer([0.0, 0.0], 1)
    model(torch.tensor([[1.0, -2.0]])).sum().backward()
    assert used(model) == pytest.approx([0.0, 0.0])
    assert model[0].weight.grad.tolist() == [[1.0, -2.0]]


def test_zeros_are_numbers() -> None:
    assert np.isfinite(used(layer([0.0, 0.0], 2))).all()


def test_the_gradient_passes_through_tanh() -> None:
    weight = np.array([-0.7, 0.1, 0.4, 2.0])
    slope = np.array([1.0, -2.0, 3.0, 0.5])
    model = layer(weight, 3)
    model(torch.tensor(slope[None], dtype=torch.float32)).sum().backward()

    def smooth(values: Any) -> Any:
        """What the rounding stands for."""
        return slope @ (np.tanh(values) / np.abs(np.tanh(values)).max())

    steps = np.eye(4) * 1e-6
    expected = [(smooth(weight + step) - smooth(weight - step)) / 2e-6 for step in steps]
    assert model[0].weight.grad.numpy().ravel() == pytest.approx(expected, rel=1e-4)


def test_the_gradient_of_one_bit_goes_straight_through() -> None:
    model = layer([-3.0, 1.0, 0.5], 1)
    model(torch.tensor([[1.0, -2.0, 3.0]])).sum().backward()
    assert model[0].weight.grad.numpy().ravel() == pytest.approx([1, -2, 3])


@pytest.mark.parametrize("kind", ["input", "output"])
@pytest.mark.parametrize(("bits", "expected"), [(1, [0, 0, 0, 1, 1, 1]), (2, [0, 0, 1 / 3, 2 / 3, 1, 1])])
def test_activations_are_clamped_and_rounded(kind: str, bits: int, expected: list[float]) -> None:
    model = nn.Sequential(nn.Identity())
    DoReFaQuantizer(model, [{"op_names": ["0"], "quant_types": kind, "quant_bits": bits}]).compress()
    x = torch.tensor([-3.0, 0.1, 0.4, 0.6, 0.9, 1.7], requires_grad=True)
    output = model(x)
    output.sum().backward()
    assert output.detach().numpy() == pytest.approx(expected)
    assert x.grad is not None
    assert x.grad.numpy() == pytest.approx([0, 1, 1, 1, 1, 0])


def test_two_bits_train() -> None:
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.Hardtanh(0, 1), nn.Linear(48, 10))
    DoReFaQuantizer(
        model,
        [
            {"quant_types": "weight", "quant_bits": 2},
            {"quant_types": "output", "quant_bits": 2, "op_types": ["Hardtanh"]},
        ],
    ).compress()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        for batch in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses[-22:]) < 0.5 * np.mean(losses[:22])
    assert float((model.eval()(x[1400:]).argmax(1) == y[1400:]).float().mean()) > 0.75
