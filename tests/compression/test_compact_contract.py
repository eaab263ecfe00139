"""What `speedup` keeps of a model, and that it leaves no trace on the one it is given, whatever happens."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import (
    L1NormPruner,
    QATQuantizer,
    compaction,
    complete_masks,
    load_compact,
    save_compact,
    speedup,
)
from tests.compression.compacting import (
    assert_close,
    chain,
    compact,
    conv,
    image,
    losing,
    masks_of,
    net,
    run,
    untouched,
    widths,
)
from tests.compression.recount import parameters, shapes
from tests.compression.zoo import ZOO


def small_net() -> Any:
    return chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))


def test_modes_are_kept() -> None:
    model = small_net().train()
    model[1].eval()
    assert [module.training for module in compact(model, losing(model, _0=[0]), image()).modules()] == [
        True, True, False, True, True,
    ]  # fmt: skip


def test_frozen_parameters_stay_frozen() -> None:
    model = small_net()
    model[0].weight.requires_grad_(False)
    model[3].requires_grad_(False)
    small = compact(model, losing(model, _0=[0]), image())
    trained = {name for name, value in small.named_parameters() if value.requires_grad}
    assert trained == {"0.bias", "1.weight", "1.bias"}


def test_a_frozen_model_under_no_grad() -> None:
    model = small_net().requires_grad_(False)
    with torch.no_grad():
        small = compact(model, losing(model, _0=[0]), image())
    assert not any(value.requires_grad for value in small.parameters())


def test_gradients_are_not_needed_nor_touched() -> None:
    model = small_net()
    torch.autograd.backward(model(image()).sum())
    before = {name: value.grad.clone() for name, value in model.named_parameters()}
    small = compact(model, losing(model, _0=[0]), image())
    assert all(torch.equal(value.grad, before[name]) for name, value in model.named_parameters())
    assert all(value.grad is None for value in small.parameters())
    assert not any(value.is_inference() for value in small.parameters())


def test_nothing_is_shared_with_the_given_model() -> None:
    model = small_net()
    small = compact(model, losing(model, _0=[0]), image())
    expected = run(model, image())
    with torch.no_grad():
        for value in (*small.parameters(), *small.buffers()):
            value.fill_(7)
    assert_close(expected, run(model, image()), 0)


def test_the_memory_format_is_kept() -> None:
    model = small_net().to(memory_format=torch.channels_last)
    small = compact(model, losing(model, _0=[0]), image().to(memory_format=torch.channels_last))
    weights = [value for value in small.parameters() if value.dim() == 4]
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in weights)
    plain = compact(small_net(), losing(model, _0=[0]), image())
    assert all(value.is_contiguous() for value in plain.parameters())


def test_a_layer_that_is_used_twice_is_cut_once() -> None:
    shared = nn.Linear(8, 8)
    model = chain(nn.Linear(5, 8), shared, nn.ReLU(), shared, nn.Linear(8, 3))
    small: Any = compact(model, losing(model, _0=[1, 2], _1=[1, 2]), torch.randn(2, 5))
    assert small[1] is small[3]
    assert (small[1].in_features, small[1].out_features) == (6, 6)


def test_hooks_of_the_user_run_in_the_smaller_model_too() -> None:
    model = small_net()
    model[2].register_forward_hook(lambda _, __, output: output * 2)
    model.register_forward_pre_hook(lambda _, args: (args[0] + 1,))
    small = compact(model, losing(model, _0=[0, 1]), image())
    assert widths(small) == {"0": 6, "1": 6, "3": 4}


class Counting(nn.Module):
    """Buffers and attributes of its own, one of which the forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 8), conv(8, 4)
        self.calls: Tensor
        self.mean: Tensor
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), persistent=False)
        self.labels = ["cat", "dog"]

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.last(F.relu(self.first(x - self.mean)))

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 3}


def test_buffers_and_attributes_of_its_own() -> None:
    model = Counting().eval()
    with torch.no_grad():
        small: Any = speedup(model, losing(model, first=[0, 1]), image())
    assert float(model.calls) == float(small.calls) == 0
    assert small.labels == ["cat", "dog"]
    assert small.labels is not model.labels
    reference = copy.deepcopy(model)
    for name, own in complete_masks(model, losing(model, first=[0, 1]), image()).items():
        for key, keep in own.items():
            reference.get_parameter(f"{name}.{key}").data.mul_(keep)
    assert_close(run(reference, image()), run(small, image()))


def test_a_norm_that_the_forward_pass_puts_into_training_is_left_alone() -> None:
    def forward(net: Any, x: Tensor) -> Any:
        return net.b(net.norm.train()(net.a(x)))

    model = net(forward, a=conv(3, 8), norm=nn.BatchNorm2d(8), b=conv(8, 4))
    with untouched(model):
        speedup(model, losing(model, a=[0, 1]), image())


def test_a_parametrized_weight_loses_no_channel_of_its_own() -> None:
    model = chain(conv(3, 8), nn.ReLU(), parametrizations.weight_norm(conv(8, 8)), nn.ReLU(), conv(8, 4))
    with untouched(model), pytest.raises(CompressionError, match="2 of 0: the weight of 2 is computed from others"):
        speedup(model, losing(model, _0=[0, 1]), image())


def test_a_parametrized_weight_elsewhere_does_not_matter() -> None:
    model = chain(parametrizations.weight_norm(conv(3, 8)), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 4))
    with untouched(model):
        small: Any = speedup(model, losing(model, _2=[0, 1]), image())
    assert shapes(small)["4.weight"] == (4, 6, 3, 3)
    assert parametrize.is_parametrized(small[0], "weight")


@pytest.mark.parametrize("kind", ["weight_norm", "prune"])
def test_weights_that_old_hooks_compute_are_named(kind: str) -> None:
    model = small_net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "prune":
            structured: Any = prune.ln_structured
            structured(model[3], "weight", 0.5, 1, 0)
        else:
            nn.utils.weight_norm(model[3])
        with pytest.raises(CompressionError, match=r"'?3'?.* computed from others"):
            speedup(model, losing(model, _0=[0, 1]), image())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_gives_a_plain_one(tmp_path: Any) -> None:
    model = small_net()
    small = speedup(torch.compile(model), losing(model, _0=[0, 1]), image())  # type: ignore[arg-type]
    assert type(small) is nn.Sequential
    loaded = load_compact(small_net, save_compact(small, tmp_path / "a.safetensors"))
    assert_close(run(small, image()), run(loaded, image()), 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_smaller_model_compiles() -> None:
    model = small_net()
    small = speedup(model, losing(model, _0=[0, 1]), image())
    compiled: Any = torch.compile(small, backend="eager")
    assert_close(run(small, image()), [compiled(image()).detach()], 1e-6)


def test_a_quantizer_on_top() -> None:
    model, _ = L1NormPruner(small_net(), [{"sparsity": 0.5, "op_names": ["0"]}]).compress()
    small = compact(model, None, image())
    entries = [{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"]}]
    quantized = QATQuantizer(small, entries).compress()
    quantized = quantized[0] if isinstance(quantized, tuple) else quantized
    assert run(quantized, image())[0].shape == (2, 4, 8, 8)
    assert parameters(small) < parameters(model)


def test_tuples_and_dicts_of_inputs_with_what_is_no_tensor() -> None:
    def forward(net: Any, x: Tensor, scale: float = 1.0, *, extra: Tensor | None = None, flag: bool = True) -> Any:
        hidden = net.a(x) * scale
        return net.b(hidden if extra is None or not flag else hidden + net.a(extra))

    model = net(forward, a=conv(3, 8), b=conv(8, 4))
    for example in ((image(), 0.5), {"x": image(), "extra": image(), "flag": True}, {"x": image(), "extra": None}):
        assert widths(compact(model, losing(model, a=[0, 1]), example)) == {"a": 6, "b": 4}


def test_inputs_in_a_list() -> None:
    model = net(lambda net, xs: net.c(net.a(xs[0]) + net.b(xs[1])), a=conv(3, 8), b=conv(2, 8), c=conv(8, 4))
    small = compact(model, losing(model, a=[0, 1], b=[0, 1]), ([image(3), image(2)],))
    assert widths(small) == {"a": 6, "b": 6, "c": 4}


@pytest.mark.parametrize("call", [speedup, complete_masks])
@pytest.mark.parametrize("example", [image(2), "words", None, (), {"other": image()}, image().long()])
def test_an_example_that_the_model_does_not_take(call: Any, example: Any) -> None:
    model = small_net().train()
    with untouched(model), pytest.raises(CompressionError, match="example input"):
        call(model, losing(model, _0=[0, 1]), example)


@pytest.mark.parametrize("after", range(1, 4))
@pytest.mark.parametrize("kind", [RuntimeError, KeyError, KeyboardInterrupt])
def test_a_forward_pass_that_fails_sooner_or_later(after: int, kind: type[BaseException]) -> None:
    """In the trace, in the smaller model, in the masked one: nothing stays behind on the given model."""
    calls = []

    def forward(net: Any, x: Tensor) -> Any:
        calls.append(0)
        out = net.b(F.relu(net.a(x)))
        if len(calls) >= after:
            raise kind("out of luck")
        return out

    model = net(forward, a=conv(3, 8), b=conv(8, 4)).train()
    with untouched(model), pytest.raises((CompressionError, kind), match="out of luck"):
        speedup(model, losing(model, a=[0, 1]), image())


def test_random_numbers_in_the_forward_pass() -> None:
    model = net(lambda net, x: net.b(F.dropout(net.a(x), 0.5, training=net.training)), a=conv(3, 8), b=conv(8, 4))
    assert widths(compact(model.train(), losing(model, a=[0, 1]), image())) == {"a": 6, "b": 4}


def test_inference_mode() -> None:
    model, example = small_net(), image()
    masks = losing(model, _0=[0, 1])
    with torch.inference_mode():
        small = speedup(model, masks, example)
    assert widths(small) == {"0": 6, "1": 6, "3": 4}
    torch.autograd.backward(small(image()).sum())


def test_the_report_goes_with_a_copy_and_not_with_other_models() -> None:
    model = small_net()
    small = speedup(model, losing(model, _0=[0, 1]), image())
    assert compaction(copy.deepcopy(small)) == compaction(small)
    with pytest.raises(CompressionError, match="a model that speedup"):
        compaction(model)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_training_goes_on_and_masks_are_no_more(optimizer: Any) -> None:
    model = ZOO["resnet18"].build()
    small: Any = speedup(model, masks_of(model), ZOO["resnet18"].example())
    stepping = optimizer(small.parameters(), lr=0.01)
    before = shapes(small)
    for _ in range(2):
        stepping.zero_grad()
        torch.autograd.backward(small.train()(ZOO["resnet18"].example()).square().mean())
        stepping.step()
    assert shapes(small) == before
    assert all(bool(value.isfinite().all()) for value in small.parameters())
