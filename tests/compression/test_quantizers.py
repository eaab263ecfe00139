"""What every quantizer does: the model trains in float and computes in few bits, and nothing else changes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError, ConfigListError
from autoprune.compression.torch.quantizers.base import Quantizer
from autoprune.compression.torch.quantizers.dorefa import DoReFaQuantizer
from autoprune.compression.torch.quantizers.naive import NaiveQuantizer
from autoprune.compression.torch.quantizers.qat import QATQuantizer
from tests.compression.quantized_models import attributes, hooks, images, probe, used

ALL = [NaiveQuantizer, QATQuantizer, DoReFaQuantizer]
Train = Callable[..., None]


def test_naive_rounds_to_127ths_of_the_peak() -> None:
    weight = np.array([[-2.54, 0.011, 0.009], [1.27, -0.031, 2.0]], dtype=np.float32)
    model = probe(weight)
    NaiveQuantizer(model).compress()
    assert used(model).detach().numpy() == pytest.approx(np.array([[-2.54, 0.02, 0.0], [1.28, -0.04, 2.0]]), abs=1e-6)


def test_a_weight_of_zeros_stays_zero() -> None:
    model = probe(torch.zeros(3, 2))
    NaiveQuantizer(model).compress()
    assert torch.equal(used(model), torch.zeros(3, 2))


SHAPES = hnp.arrays(np.float32, (3, 4), elements=st.floats(-1000, 1000, width=32))


@given(weight=SHAPES, bits=st.integers(2, 12))
def test_naive_is_within_half_a_step_and_symmetric(weight: Any, bits: int) -> None:
    model, mirrored = probe(weight), probe(-weight)
    for each in (model, mirrored):
        NaiveQuantizer(each, quant_bits=bits).compress()
    quantized = used(model).detach().double().numpy()
    step = float(np.abs(weight).max()) / (2 ** (bits - 1) - 1)
    assert np.abs(quantized - weight).max() <= step / 2 + 1e-6 * np.abs(weight).max() + 1e-40
    assert len(np.unique(quantized)) <= 2**bits
    assert np.array_equal(quantized, -used(mirrored).detach().double().numpy())
    again = probe(quantized)
    NaiveQuantizer(again, quant_bits=bits).compress()
    assert used(again).detach().numpy() == pytest.approx(quantized, rel=1e-6, abs=1e-40)


@pytest.mark.parametrize("quantizer", ALL)
def test_the_master_weights_are_the_parameters(quantizer: type[Quantizer], net: nn.Module) -> None:
    names, parameters = list(net.state_dict()), dict(net.named_parameters())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert quantizer(net, [{"quant_types": "weight", "quant_bits": 3}]).compress() is net
    net(images())
    assert list(net.state_dict()) == names
    assert all(value is parameters[name] for name, value in net.named_parameters())
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in parameters)


@pytest.mark.parametrize("quantizer", ALL)
@pytest.mark.parametrize("early", [True, False])
def test_any_optimizer_trains_them(quantizer: type[Quantizer], early: bool, net: nn.Module, train: Train) -> None:
    before = net.get_parameter("conv1.weight").detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    quantizer(net, [{"quant_bits": 4}]).compress()
    train(net, optimizer if early else torch.optim.SGD(net.parameters(), lr=0.1))
    moved = net.get_parameter("conv1.weight").detach() - before
    assert float(moved.abs().max()) > 0
    assert len(net.get_parameter("conv1.weight").unique()) > 2**4


def test_building_and_unwrapping_leave_no_trace(net: nn.Module, train: Train) -> None:
    before, output = attributes(net), net.eval()(x := images())
    quantizer = QATQuantizer(net, quant_bits=2, dummy_input=images())
    assert attributes(net) == before
    assert hooks(net) == 0
    quantizer.compress()
    net.train()(images())
    assert not torch.allclose(net.eval()(x), output, atol=1e-3)
    net.get_submodule("bn").load_state_dict(nn.BatchNorm2d(4).state_dict())
    assert quantizer.unwrap() is net
    assert attributes(net) == before
    assert hooks(net) == 0
    assert torch.equal(net(x), output)


def test_the_three_ways_to_say_it(net: nn.Module) -> None:
    x = images()
    outputs = []
    for build in (
        lambda model: NaiveQuantizer(model, [{"quant_types": ["weight"], "quant_bits": {"weight": 4}}]).compress(),
        lambda model: NaiveQuantizer([{"quant_types": "weight", "q_bits": 4, "support_type": "default"}])(model),
        lambda model: NaiveQuantizer(quant_bits=4)(model),
        lambda model: NaiveQuantizer([{"op_types": ["default"]}], quant_bits=4)(model),
    ):
        outputs.append(build(copy.deepcopy(net))(x))
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    assert not torch.allclose(outputs[0], net(x), atol=1e-3)


def test_entries_choose_layers_and_bits(net: nn.Module) -> None:
    quantizer = QATQuantizer(
        net,
        [
            {"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"]},
            {"exclude": True, "op_names": ["conv0"]},
            {"quant_types": ["output"], "quant_bits": 4, "op_types": ["ReLU"]},
        ],
    )
    quantizer.compress()
    outputs: dict[str, Tensor] = {}
    for name in ("conv0", "conv1", "act"):
        module = net.get_submodule(name)
        module.register_forward_hook(lambda _m, _a, out, name=name: outputs.update({name: out}))
    net(images())
    assert len(outputs["act"].unique()) <= 16 < len(outputs["conv1"].unique())
    assert set(quantizer.state) == {"act.output.range", "act.output.steps"}


def test_all_mistakes_come_in_one_error(net: nn.Module) -> None:
    with pytest.raises(ConfigListError) as caught:
        QATQuantizer(
            net,
            [
                {"quant_types": ["weights"], "op_types": ["Conv2d"]},
                {"quant_bits": 33, "op_types": ["Linaer"]},
                {"quant_start_step": -1, "op_names": ["conv2"]},
                {"quant_bit": 8},
            ],
        )
    message = str(caught.value)
    for part in ("weights", "from 2 to 32", "Linear", "conv2", "0 or more", "quant_bits?"):
        assert part in message


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"quant_types": ["weight", "output"], "quant_bits": {"weight": 8}}, "bits for each of quant_types"),
        ({"quant_types": "weight", "quant_bits": {"weight": 8, "input": 8}}, "bits for each of quant_types"),
        ({"quant_types": "weight", "quant_bits": 1}, "a whole number from 2 to 32"),
        ({"quant_types": "weight", "quant_bits": True}, "a whole number from 2 to 32"),
        ({"quant_types": [], "quant_bits": 8}, "a list of these"),
        ({"quant_types": "weight", "op_types": ["ReLU"]}, "a layer with a weight"),
        ({"op_types": ["Linear"], "quant_types": "weight", "op_names": ["conv0"]}, "at least one layer"),
    ],
)
def test_a_mistake_is_named(net: nn.Module, entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigListError, match=says):
        QATQuantizer(net, [entry])


def test_naive_and_binary_bounds(net: nn.Module) -> None:
    with pytest.raises(ConfigListError, match="what NaiveQuantizer quantises: weight"):
        NaiveQuantizer(net, [{"quant_types": ["output"]}])
    DoReFaQuantizer(net, [{"quant_bits": 1}])


def test_a_second_quantizer_needs_other_layers(net: nn.Module) -> None:
    QATQuantizer(net, [{"op_types": ["Conv2d"]}]).compress()
    DoReFaQuantizer(net, [{"op_types": ["Linear"]}]).compress()
    with pytest.raises(CompressionError, match=r"conv0.*QATQuantizer quantises already"):
        NaiveQuantizer(net, [{"op_names": ["conv0"]}]).compress()


def test_compressing_twice_is_once(net: nn.Module) -> None:
    quantizer = QATQuantizer(net, dummy_input=images())
    quantizer.compress()
    net(images())
    held = quantizer.state_dict()
    count, output = hooks(net), net.eval()(x := images())
    quantizer.compress()
    assert hooks(net) == count
    assert all(torch.equal(held[name], value) for name, value in quantizer.state.items())
    assert torch.equal(net(x), output)


def test_one_quantizer_has_one_model(net: nn.Module) -> None:
    quantizer = NaiveQuantizer(quant_bits=4)
    with pytest.raises(CompressionError, match="given no model"):
        quantizer.compress()
    quantizer(net)
    with pytest.raises(CompressionError, match="second model"):
        quantizer(copy.deepcopy(net))


FILE = """
torchQATquantizer:
  config:
    - quant_types: [weight]
      quant_bits: 3
      support_type: Linear
DoReFaQuantizer:
  config:
    - quant_bits: 1
      support_type: Linaer
"""


def test_a_file_configures(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "quantize.yml"
    path.write_text(FILE)
    expected = QATQuantizer(copy.deepcopy(net), quant_types="weight", quant_bits=3)
    expected.load_configure(path)
    by_path = QATQuantizer(copy.deepcopy(net), str(path))
    x = images()
    outputs = [quantizer.compress()(x) for quantizer in (expected, by_path)]
    assert torch.equal(*outputs)
    copied = pickle.loads(pickle.dumps(by_path.model))
    assert torch.equal(copied(x), outputs[0])
    assert len([name for name, module in by_path.model.named_modules() if hooks(module)]) == 2
    with pytest.raises(CompressionError, match="unwrap"):
        by_path.load_configure(path)
    with pytest.raises(ConfigListError, match=r"quantize\.yml:10.*Linear"):
        DoReFaQuantizer(net, path)
