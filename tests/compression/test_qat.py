"""Quantization-aware training against the formulas of its paper: grids, ranges that move, folded BatchNorms."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from sklearn.datasets import load_digits
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.quantizers._codes import affine
from autoprune.compression.torch.quantizers.qat import QATQuantizer

EXACT = [{"quant_types": "weight", "quant_bits": 32}]


def grid(weight: list[float], bits: int = 8) -> tuple[float, float, list[float]]:
    """Scale, zero point and integers of a weight."""
    layer = LayerInfo("", nn.Identity(), "weight", {"quant_types": "weight", "quant_bits": bits})
    codes = QATQuantizer(quant_types="weight").encode(layer, torch.tensor(weight))
    return float(codes.scale), float(codes.zero_point), codes.values.tolist()


def activations(bits: int = 8, **settings: Any) -> tuple[nn.Sequential, QATQuantizer]:
    """A model that does nothing but quantise what passes through it."""
    model = nn.Sequential(nn.Identity())
    entry = {"op_types": ["Identity"], "quant_types": ["output"], "quant_bits": bits, **settings}
    quantizer = QATQuantizer(model, [entry])
    quantizer.compress()
    return model, quantizer


def held(quantizer: QATQuantizer, name: str = "0.output") -> list[float]:
    return [round(value, 5) for value in quantizer.state[f"{name}.range"].tolist()]


def test_a_range_is_widened_to_hold_zero() -> None:
    assert grid([1, 2, 3, 5]) == (pytest.approx(5 / 255), 0, [51, 102, 153, 255])


def test_the_zero_point_rounds_half_to_even() -> None:
    assert grid([-1, 2, 3, 5]) == (pytest.approx(6 / 255), 42, [0, 127, 170, 254])


def test_negative_and_empty_ranges() -> None:
    assert grid([-4, -2], bits=2) == (pytest.approx(4 / 3), 3, [0, 1])
    assert grid([0, 0])[1:] == (0, [0, 0])


VALUES = hnp.arrays(np.float32, 12, elements=st.floats(-1000, 1000, width=16))


@given(values=VALUES, bits=st.integers(2, 12))
def test_a_batch_lies_on_the_grid_of_its_range(values: Any, bits: int) -> None:
    model, _ = activations(bits)
    quantized = model(torch.tensor(values)).double().numpy()
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (high - low) / (2**bits - 1) or 1.0
    zero = np.clip(np.round(-low / scale), 0, 2**bits - 1)
    integers = quantized / scale + zero
    assert np.abs(integers - np.round(integers)).max() < 1e-2
    assert integers.min() > -0.01
    assert integers.max() < 2**bits - 1 + 0.01
    assert np.abs(quantized - values).max() <= scale * 0.501
    assert np.all(quantized[values == 0] == 0)
    again = model.eval()(torch.tensor(quantized, dtype=torch.float32))
    assert np.array_equal(again.double().numpy(), quantized)


def test_gradients_stop_outside_the_range() -> None:
    model, _ = activations(4)
    model(torch.tensor([-1.0, 2.0]))
    x = torch.tensor([-5.0, -1.3, -0.9, 0.0, 0.77, 1.9, 2.3, 9.0], requires_grad=True)
    model.eval()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.numpy() == pytest.approx(np.array([0, 0, 1, 1, 1, 1, 0, 0]), abs=1e-6)


def test_weights_within_their_range_get_the_whole_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    model.load_state_dict({"0.weight": torch.tensor([[-1.0, 2.0, 3.0, 5.0]])})
    QATQuantizer(model, quant_types="weight", quant_bits=8).compress()
    model(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    gradient = model[0].weight.grad
    assert gradient.numpy() == pytest.approx(np.array([[1.0, 2.0, 3.0, 4.0]]))


def test_ranges_are_moving_averages() -> None:
    model, quantizer = activations()
    model(torch.tensor([-1.0, 3.0]))
    assert held(quantizer) == [-1.0, 3.0]
    model(torch.tensor([-3.0, 1.0]))
    assert held(quantizer) == [-1.02, 2.98]
    model(torch.tensor([0.5, 2.98]))
    assert held(quantizer) == [round(-1.02 * 0.99 + 0.5 * 0.01, 5), 2.98]


def test_ranges_stand_still_in_eval_mode() -> None:
    model, quantizer = activations()
    model(torch.tensor([-1.0, 3.0]))
    model.eval()(torch.tensor([-100.0, 100.0]))
    assert held(quantizer) == [-1.0, 3.0]
    assert model(torch.tensor([100.0])).item() == pytest.approx(3.0, abs=0.01)


def test_activations_wait_for_their_first_batches() -> None:
    model, _ = activations(2, quant_start_step=2)
    x = torch.tensor([0.0, 0.1, 1.0])
    for _ in range(2):
        assert torch.equal(model.eval()(x), x)
        assert torch.equal(model.train()(x), x)
    rounded = torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(model.eval()(x), rounded)
    assert torch.allclose(model.train()(x), rounded)


def test_nothing_is_known_before_training() -> None:
    model, _ = activations(2)
    x = torch.tensor([0.1, 0.7])
    assert torch.equal(model.eval()(x), x)
    assert model.train()(torch.empty(0)).numel() == 0
    assert torch.equal(model.eval()(x), x)


def test_weights_inputs_and_outputs_have_ranges_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model.load_state_dict({"0.weight": torch.tensor([[2.0, 1.0]])})
    quantizer = QATQuantizer(
        model, quant_types=["weight", "input", "output"], quant_bits={"weight": 2, "input": 3, "output": 4}
    )
    quantizer.compress()
    output = model(torch.tensor([[7.0, 2.6]]))
    assert held(quantizer, "0.input") == [2.6, 7.0]
    scale = 2 / 3
    assert held(quantizer, "0.output") == [pytest.approx(7 * 2 + 3 * 2 * scale, abs=1e-4)] * 2
    assert output.item() == pytest.approx(18, abs=1e-4)


def test_training_goes_on_from_a_saved_state(net: nn.Module) -> None:
    quantizer = QATQuantizer(net, quant_start_step=1)
    quantizer.compress()
    twin = copy.deepcopy(net)
    QATQuantizer.of(twin).unwrap()
    for _ in range(2):
        net(torch.randn(4, 1, 8, 8))
    other = QATQuantizer(twin, quant_start_step=1)
    with pytest.raises(CompressionError, match=r"given 'conv0\.output\.range'"):
        other.load_state_dict(quantizer.state_dict())
    other.compress()
    other.load_state_dict(quantizer.state_dict())
    twin.load_state_dict(net.state_dict())
    x = torch.randn(4, 1, 8, 8)
    for mode in (False, True, False):
        assert torch.equal(net.train(mode)(x), twin.train(mode)(x))
    with pytest.raises(CompressionError, match="all of its state"):
        other.load_state_dict({})


Build = Callable[[], nn.Sequential]
PAIRS: list[tuple[Build, tuple[int, ...]]] = [
    (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)), (5, 4, 6, 6)),
    (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6, momentum=None)), (5, 4, 6, 6)),
    (lambda: nn.Sequential(nn.Conv1d(4, 6, 3, stride=2), nn.BatchNorm1d(6, affine=False)), (5, 4, 9)),
    (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3, eps=0.1)), (5, 2, 4, 4, 4)),
    (lambda: nn.Sequential(nn.Linear(4, 6), nn.Identity(), nn.BatchNorm1d(6, momentum=0.3)), (5, 4)),
]


@pytest.mark.parametrize(("build", "shape"), PAIRS)
def test_folding_is_exact_but_for_quantisation(build: Build, shape: tuple[int, ...]) -> None:
    plain, x = build(), torch.randn(shape)
    for parameter in plain[-1].parameters():
        nn.init.normal_(parameter)
    folded = copy.deepcopy(plain)
    quantizer = QATQuantizer(folded, EXACT, dummy_input=x)
    quantizer.compress()
    assert quantizer.folded == {"0": str(len(plain) - 1)}
    for mode in (True, True, False, True):
        plain.train(mode)
        folded.train(mode)
        batch = torch.randn(shape)
        outputs = [model(batch) for model in (plain, folded)]
        assert torch.allclose(*outputs, atol=1e-5)
        target = torch.randn_like(outputs[0])
        for model, output in zip((plain, folded), outputs, strict=True):
            model.zero_grad()
            (output * target).sum().backward()
        for one, other in zip(plain.parameters(), folded.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert torch.allclose(one.grad, other.grad, atol=1e-4, rtol=1e-4)
    for name, value in plain.state_dict().items():
        assert torch.allclose(folded.state_dict()[name], value, atol=1e-6), name
    quantizer.unwrap()
    assert torch.allclose(plain.eval()(x), folded.eval()(x), atol=1e-6)


def test_a_frozen_batch_norm_stays_frozen() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 2, 5, 5)
    model.train()[1].eval()
    expected = model(x)
    QATQuantizer(model, EXACT, dummy_input=x).compress()
    assert torch.allclose(model(x), expected, atol=1e-5)
    assert torch.equal(model[1].running_mean, torch.zeros(3))


def test_the_folded_weight_is_what_is_quantised(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    quantizer = QATQuantizer(model, [{"quant_bits": 4, "quant_types": ["weight"]}], dummy_input=torch.ones(1, 2, 6, 6))
    quantizer.compress()
    for _ in range(3):
        model(torch.randn(8, 2, 6, 6) * 3 + 1)
    quantizer.export(path := tmp_path / "folded.safetensors")
    with safe_open(path, "pt") as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert json.loads(metadata["folded"]) == {"0": "1"}
    assert not any(name.startswith("1.") for name in saved)
    plain = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    for source, layer in (("0", plain[0]), ("3", plain[2])):
        assert saved[f"{source}.weight"].dtype == torch.int8
        values = saved[f"{source}.weight.scale"] * (saved[f"{source}.weight"] - saved[f"{source}.weight.zero_point"])
        layer.load_state_dict({"weight": values, "bias": saved[f"{source}.bias"]})
    assert len(plain[0].weight.unique()) > 4
    x = torch.randn(4, 2, 6, 6)
    assert torch.allclose(plain(x), model.eval()(x), atol=1e-5)


def test_exported_activations_give_the_grid_of_eval_mode(tmp_path: Path) -> None:
    model, quantizer = activations()
    quantizer.export(path := tmp_path / "activations.safetensors")
    with safe_open(path, "pt") as file:
        assert list(file.keys()) == []
    model(torch.tensor([-1.0, 5.0]))
    quantizer.export(path)
    with safe_open(path, "pt") as file:
        scale, zero = (file.get_tensor(f"0.output.{name}").item() for name in ("scale", "zero_point"))
        assert file.get_tensor("0.output.range").tolist() == [-1, 5]
    assert scale == pytest.approx(6 / 255)
    assert zero == 42 - 128
    x = np.array([-0.9, 0.3, 4.0], dtype=np.float32)
    integers = np.clip(np.round(x / scale) + zero, -128, 127)
    assert model.eval()(torch.tensor(x)).numpy() == pytest.approx(scale * (integers - zero), abs=1e-5)


def test_a_copied_model_folds_by_itself() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 2, 5, 5)
    QATQuantizer(model, EXACT, dummy_input=x).compress()
    other = copy.deepcopy(model)
    other(x)
    assert torch.equal(model[1].running_mean, torch.zeros(3))
    assert not torch.equal(other[1].running_mean, torch.zeros(3))
    expected = other.eval()(x)
    QATQuantizer.of(other).unwrap()
    assert "forward" not in other[1].__dict__
    assert torch.allclose(other(x), expected, atol=1e-5)


class Wired(nn.Module):
    """A convolution and a BatchNorm, and something else that also happens."""

    def __init__(self, wiring: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)
        self.bn2 = nn.BatchNorm2d(2)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Any:
        hidden = self.conv(x)
        match self.wiring:
            case "residual":
                return self.bn(hidden) + hidden
            case "two norms":
                return self.bn(hidden) * self.bn2(hidden)
            case "returned":
                return self.bn(hidden), {"before": hidden}
            case "activated":
                return self.bn(hidden.relu())
            case "repeated":
                return self.bn(self.bn(hidden))
            case "shared":
                return self.bn(self.conv(hidden))
            case "in place":
                hidden.mul_(2)
                return self.bn(hidden)
        assert hidden.dim() == 4
        return self.bn(hidden)


@pytest.mark.parametrize("wiring", ["residual", "two norms", "returned", "activated", "repeated", "shared", "in place"])
def test_what_is_not_a_pair_is_not_folded(wiring: str) -> None:
    quantizer = QATQuantizer(Wired(wiring), EXACT, dummy_input=torch.randn(1, 2, 4, 4))
    quantizer.compress()
    assert quantizer.folded == {}


@pytest.mark.parametrize("given", [torch.ones(1, 2, 4, 4), (torch.ones(1, 2, 4, 4),), {"x": torch.ones(1, 2, 4, 4)}])
def test_a_dummy_input_is_what_the_model_takes(given: Any) -> None:
    quantizer = QATQuantizer(Wired("plain"), EXACT, dummy_input=given)
    quantizer.compress()
    assert quantizer.folded == {"conv": "bn"}


def test_only_quantised_weights_and_matching_channels_fold() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(5), nn.Flatten(), nn.Linear(15, 2), nn.BatchNorm1d(2))
    entries = [{"quant_types": "weight", "quant_bits": 8}, {"exclude": True, "op_names": ["3"]}]
    quantizer = QATQuantizer(model, entries, dummy_input=torch.randn(2, 5, 4))
    quantizer.compress()
    assert quantizer.folded == {}


def test_a_batch_norm_quantised_for_itself_does_not_fold() -> None:
    entries = [{"op_types": ["Conv2d", "BatchNorm2d"], "quant_types": "weight", "quant_bits": 8}]
    quantizer = QATQuantizer(Wired("plain"), entries, dummy_input=torch.ones(1, 2, 4, 4))
    quantizer.compress()
    assert quantizer.folded == {}


class Restless(nn.Module):
    """Draws a number and counts its calls, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + torch.rand(())


def test_finding_pairs_changes_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), Restless(), nn.Sequential(nn.BatchNorm2d(2).eval()))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    QATQuantizer(model, EXACT, dummy_input=torch.randn(2, 2, 5, 5, generator=torch.Generator())).compress()
    assert torch.equal(torch.rand(3), expected)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def fit(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


def test_eight_bits_lose_less_than_two_points() -> None:
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    accuracies = []
    for quantizer in (None, QATQuantizer(quant_types=["weight", "input", "output"], quant_start_step=20)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
        if quantizer is not None:
            quantizer(model)
        fit(model, x[:1400], y[:1400], epochs=12)
        accuracies.append(float((model.eval()(x[1400:]).argmax(1) == y[1400:]).float().mean()))
    assert accuracies[0] > 0.85
    assert accuracies[1] > accuracies[0] - 0.02


def test_every_pair_of_a_chain_is_found_every_time() -> None:
    found = []
    for _ in range(5):
        layers = [[nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()] for _ in range(6)]
        model = nn.Sequential(*(module for three in layers for module in three))
        quantizer = QATQuantizer(model, [{"op_types": ["Conv2d"]}], dummy_input=torch.zeros(1, 2, 6, 6))
        quantizer.compress()
        found.append(len(quantizer.folded))
    assert found == [6] * 5


def test_what_is_beyond_the_range_takes_the_last_level() -> None:
    """Z = round(42.5) = 42 and round(6 / S) + Z is beyond 255: the level is 255, whose value is S * (255 - 42)."""
    codes = affine(torch.tensor([6.0, -2.0]), torch.tensor(-1.0), torch.tensor(5.0), 8)
    assert codes.values.tolist() == [255, 0]
    assert codes.decode().tolist() == pytest.approx([6 / 255 * 213, -6 / 255 * 42])
