"""Quantised models do what models do: they are copied, saved, compiled, moved, exported, and fail without harm."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError, ConfigListError
from autoprune.compression.torch.layers import LayerInfo
from autoprune.compression.torch.pruners.level import LevelPruner
from autoprune.compression.torch.quantizers.base import Quantizer
from autoprune.compression.torch.quantizers.dorefa import DoReFaQuantizer
from autoprune.compression.torch.quantizers.naive import NaiveQuantizer
from autoprune.compression.torch.quantizers.qat import QATQuantizer
from tests.compression.quantized_models import Probe, hooks, images, probe, used

ALL = [NaiveQuantizer, QATQuantizer, DoReFaQuantizer]
Train = Callable[..., None]


def by_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model)


def by_pickle(model: nn.Module) -> nn.Module:
    loaded: nn.Module = pickle.loads(pickle.dumps(model))
    return loaded


def by_torch(model: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded: nn.Module = torch.load(buffer, weights_only=False)
    return loaded


@pytest.mark.parametrize("duplicate", [by_copy, by_pickle, by_torch])
@pytest.mark.parametrize("quantizer", ALL)
def test_a_copy_quantises_by_itself(quantizer: type[Quantizer], duplicate: Any, net: nn.Module, train: Train) -> None:
    quantizer(net, [{"quant_bits": 3}]).compress()
    net(images())
    other = duplicate(net)
    own = Quantizer.of(other)
    assert type(own) is quantizer
    assert own is not Quantizer.of(net)
    x, output = images(), None
    output = net.eval()(x)
    held = Quantizer.of(net).state_dict()
    train(other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert torch.equal(net(x), output)
    assert all(torch.equal(held[name], value) for name, value in Quantizer.of(net).state.items())
    other.load_state_dict(net.state_dict())
    own.unwrap()
    assert hooks(other) == 0
    assert not torch.equal(other.eval()(x), output)
    assert torch.equal(net(x), output)


@pytest.mark.parametrize("quantizer", ALL)
def test_compiled_models_compute_the_same(quantizer: type[Quantizer], net: nn.Module) -> None:
    quantizer(net, [{"quant_bits": 3}]).compress()
    plain, compiled = copy.deepcopy(net), torch.compile(net, backend="eager")
    for mode in (True, True, False):
        plain.train(mode)
        net.train(mode)
        x = images()
        assert torch.equal(compiled(x), plain(x))
    for name, value in Quantizer.of(plain).state.items():
        assert torch.equal(Quantizer.of(net).state[name], value)
    torch._dynamo.reset()


def test_layers_that_share_a_weight_may_differ(tied: nn.Module) -> None:
    NaiveQuantizer(tied, [{"quant_bits": 2, "op_names": ["embed"]}, {"quant_bits": 8, "op_names": ["head"]}]).compress()
    seen: dict[str, Tensor] = {}
    tied.get_submodule("mix").register_forward_pre_hook(lambda _m, args: seen.update(embedded=args[0]))
    tied(torch.arange(12)).sum().backward()
    assert tied.get_submodule("head").weight is tied.get_submodule("embed").weight
    assert len(seen["embedded"].unique()) <= 3
    assert tied.get_parameter("embed.weight").grad is not None


class Twice(nn.Linear):
    def forward(self, x: Tensor, again: bool = True) -> Tensor:
        inner = self(x, again=False) if again else x
        return nn.functional.linear(inner, self.weight)


def test_a_module_that_calls_itself() -> None:
    model = nn.Sequential(Twice(4, 4))
    x = torch.randn(2, 4)
    quantizer = NaiveQuantizer(model, quant_bits=3)
    quantizer.compress()
    scale = model[0].weight.detach().abs().max() / 3
    weight = (model[0].weight.detach() / scale).round() * scale
    assert torch.allclose(model(x), x @ weight.T @ weight.T, atol=1e-6)
    assert isinstance(model[0].weight, nn.Parameter)


def test_a_forward_that_fails_leaves_the_parameter(net: nn.Module) -> None:
    QATQuantizer(net).compress()
    with pytest.raises(RuntimeError):
        net.get_submodule("fc")(torch.randn(2, 5))
    assert isinstance(net.get_submodule("fc").weight, nn.Parameter)
    copy.deepcopy(net)(images())


def test_an_interrupted_forward_is_mended(net: nn.Module) -> None:
    quantizer = NaiveQuantizer(net, quant_bits=4)
    quantizer.compress()

    class Interrupted(Tensor):
        @classmethod
        def __torch_function__(cls, *_: object, **__: object) -> object:
            raise KeyboardInterrupt

    layer = net.get_submodule("fc")
    with pytest.raises(KeyboardInterrupt):
        layer(torch.ones(1, 96).as_subclass(Interrupted))
    assert not isinstance(layer.weight, nn.Parameter)
    quantizer.compress()
    assert isinstance(layer.weight, nn.Parameter)


def test_threads_that_run_one_model_leave_it_whole() -> None:
    layer = nn.Linear(200, 200)
    model = nn.Sequential(layer, nn.Linear(200, 200))
    quantizer = NaiveQuantizer(model, quant_bits=2)
    quantizer.compress()
    image = torch.randn(4, 200)
    expected = model(image).detach()
    wrong = []

    def run() -> None:
        with torch.no_grad():
            wrong.extend(1 for _ in range(200) if not torch.equal(model(image), expected))

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert isinstance(layer.weight, nn.Parameter)
    quantizer.unwrap()
    assert isinstance(layer.weight, nn.Parameter)


def test_a_replaced_model_is_the_one_quantised() -> None:
    class Wrapping(NaiveQuantizer):
        def preprocess_model(self, model: nn.Module) -> nn.Module:
            return nn.Sequential(model)

    model = probe(torch.randn(2, 2))
    quantizer = Wrapping(model, quant_bits=4)
    wrapped = quantizer.compress()
    assert wrapped is quantizer.model
    assert next(iter(wrapped.children())) is model
    assert len(used(model).unique()) <= 16


def test_without_gradients(net: nn.Module) -> None:
    NaiveQuantizer(net, quant_bits=4).compress()
    x = images()
    with torch.no_grad():
        output = net(x)
    net.get_parameter("conv0.weight").requires_grad_(False)
    assert torch.equal(net(x), output)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("quantizer", ALL)
def test_other_precisions(quantizer: type[Quantizer], dtype: torch.dtype) -> None:
    model = nn.Sequential(Probe(16, 8, bias=False)).to(dtype)
    quantizer(model, quant_bits=4).compress()
    weight = used(model)
    assert weight.dtype == dtype
    assert len(weight.detach().unique()) <= 16
    assert model(torch.ones(1, 16, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("quantizer", ALL)
def test_half_precision_rounds_once(quantizer: type[Quantizer]) -> None:
    weight = torch.randn(32, 32).bfloat16()
    low, full = probe(weight), probe(weight.float())
    for model in (low, full):
        quantizer(model, quant_bits=8).compress()
    assert torch.equal(used(low), used(full).bfloat16())


@pytest.mark.parametrize("quantizer", [QATQuantizer, DoReFaQuantizer])
def test_a_model_may_move_to_another_device(quantizer: type[Quantizer]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    fold = {"dummy_input": torch.ones(1, 1, 4, 4)} if quantizer is QATQuantizer else {}
    quantizer(model, [{"quant_types": ["weight", "input", "output"]}], **fold).compress()
    for device in ("cpu", "meta"):
        model.to(device)
        for mode in (True, False):
            assert model.train(mode)(torch.ones(3, 1, 4, 4, device=device)).device.type == device


def test_attention_computes_without_calling_its_layer() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with pytest.raises(ConfigListError, match=r"self_attn\.out_proj"):
        NaiveQuantizer(model, [{"op_names": ["self_attn.out_proj"]}])
    with pytest.raises(ConfigListError, match="MultiheadAttention"):
        QATQuantizer(model, [{"op_types": ["MultiheadAttention"], "quant_types": "output"}])
    x = torch.randn(2, 3, 8)
    model.eval()
    with torch.no_grad():
        before = model(x)
        NaiveQuantizer(model, quant_bits=2).compress()
        assert not torch.allclose(model(x), before, atol=1e-3)


def test_tokens_are_left_alone(tied: nn.Module) -> None:
    with pytest.raises(ConfigListError, match="floating point"):
        QATQuantizer(tied, [{"op_names": ["embed"], "quant_types": "input"}])
    quantizer = QATQuantizer(tied, [{"quant_types": ["weight", "input"]}])
    quantizer.compress()
    tied(torch.arange(12))
    steps = {name: int(value) for name, value in quantizer.state.items() if name.endswith("steps")}
    assert steps == {"embed.input.steps": 0, "mix.input.steps": 1, "head.input.steps": 1}


def test_a_layer_without_a_tensor_is_named() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    model = nn.Sequential(Pair())
    QATQuantizer(model, [{"op_types": ["Pair"], "quant_types": "output"}]).compress()
    with pytest.raises(CompressionError, match="'0': given tuple as output"):
        model(torch.ones(2))


def test_uninitialised_layers_are_refused() -> None:
    with pytest.raises(CompressionError, match="no weights yet"):
        NaiveQuantizer(nn.Sequential(nn.LazyLinear(3)), quant_bits=8)


def test_masks_survive_quantisation() -> None:
    model = probe(torch.randn(8, 8) + 0.5)
    LevelPruner(model, [{"sparsity": 0.5}]).compress()
    QATQuantizer(model, quant_bits=4).compress()
    weight = used(model)
    assert int((weight[model[0].weight == 0] != 0).sum()) == 0
    assert int((model[0].weight == 0).sum()) == 32


def test_a_quantizer_of_ones_own(net: nn.Module) -> None:
    class MyQuantizer(Quantizer):
        def __init__(self, step: float) -> None:
            pass

        def quantize_weight(self, layer_info: LayerInfo, weight: Tensor) -> Tensor:
            assert layer_info.name in ("conv0", "conv1", "fc")
            return self.rounded(weight)

        def rounded(self, weight: Tensor) -> Tensor:
            return (weight * 4).round() / 4

        def preprocess_model(self, model: nn.Module) -> None:
            model.__dict__["preprocessed"] = True

    quantizer = MyQuantizer(0.25)
    model = quantizer(net)
    assert net.__dict__["preprocessed"]
    gathered: list[Tensor] = []
    net.get_submodule("fc").register_forward_hook(lambda m, a, out: gathered.append(m.weight))
    model(images()).sum().backward()
    assert float(net.get_parameter("fc.weight").grad.abs().max()) > 0
    with pytest.raises(CompressionError, match="overrides encode"):
        quantizer.export("nowhere.safetensors")


def test_a_weight_of_another_shape_is_refused() -> None:
    class Flat(Quantizer):
        def quantize_weight(self, layer_info: LayerInfo, weight: Tensor) -> Tensor:
            return weight.flatten()

    model = Flat([{"op_names": ["0"]}])(probe(torch.ones(2, 2)))
    with pytest.raises(CompressionError, match="expected a tensor of shape"):
        model(torch.ones(1, 2))


def test_the_gradient_goes_straight_through() -> None:
    model = probe([[0.1, -0.5, 0.3]])
    NaiveQuantizer(model, quant_bits=2).compress()
    model(torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert torch.equal(model[0].weight.grad, torch.tensor([[1.0, 2.0, 3.0]]))


@pytest.mark.parametrize("quantizer", ALL)
@pytest.mark.parametrize("bits", [2, 8, 11, 24])
def test_exported_integers_are_the_weights_of_forward(quantizer: type[Quantizer], bits: int, tmp_path: Path) -> None:
    model = nn.Sequential(Probe(16, 8), nn.BatchNorm1d(8))
    built = quantizer(model, [{"quant_bits": bits}])
    with pytest.raises(CompressionError, match="call compress"):
        built.export(tmp_path / "model.safetensors")
    built.compress()
    model(torch.randn(4, 16))
    built.export(path := tmp_path / "model.safetensors")
    with safe_open(path, "numpy") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    integers = held["0.weight"]
    assert integers.dtype == {2: np.int8, 8: np.int8, 11: np.int16, 24: np.int32}[bits]
    assert integers.min() >= -(2 ** (bits - 1))
    assert integers.max() < 2 ** (bits - 1)
    weight = held["0.weight.scale"] * (integers - held["0.weight.zero_point"])
    assert weight == pytest.approx(model[0].__dict__["seen"].detach().numpy(), abs=1e-6)
    assert held["0.bias"] == pytest.approx(model[0].bias.detach().numpy())
    assert {"1.weight", "1.running_mean"} <= set(held)
    assert json.loads(metadata["bits"])["0"]["weight"] == bits
    assert metadata["quantizer"] == quantizer.__name__


def test_export_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    model = probe([[float("nan"), 1.0]])
    quantizer = NaiveQuantizer(model, quant_bits=8)
    quantizer.compress()
    with pytest.raises(CompressionError, match="NaN or infinite weights in layer '0'"):
        quantizer.export(tmp_path / "model.safetensors")
    with pytest.raises(CompressionError, match="a folder that exists"):
        quantizer.export(tmp_path / "missing" / "model.safetensors")


def test_a_model_has_one_quantizer_or_none(net: nn.Module) -> None:
    with pytest.raises(CompressionError, match="0 quantizers"):
        Quantizer.of(net)


def test_code_compiled_before_quantizing_is_not_used_after() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    compiled: Any = torch.compile(model, backend="eager")
    image = torch.randn(2, 8)
    plain = compiled(image).detach()
    quantizer = NaiveQuantizer(model, quant_bits=2)
    quantizer.compress()
    assert torch.equal(compiled(image), model(image))
    assert not torch.allclose(compiled(image), plain)
    quantizer.unwrap()
    assert torch.equal(compiled(image), plain)
