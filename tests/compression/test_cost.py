"""What a model costs: counts against formulas by hand, bytes against files, and ratios that are honest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from autoprune.compression import Cost, compare, measure
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.cost import BUSY, ZEROS, Latency
from autoprune.compression.torch import (
    AGPPruner,
    L1NormPruner,
    LevelPruner,
    NaiveQuantizer,
    QATQuantizer,
    load_masks,
    speedup,
)
from autoprune.compression.torch.compact.plan import Kept, Layer, Plan, remember
from autoprune.compression.torch.sparse_kernels.kernels import SparseLinear

HALF = [{"sparsity": 0.5}]


class Calling(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def counted(model: nn.Module, *inputs: Tensor) -> Cost:
    return measure(model, inputs, latency=False)


def image(*shape: int) -> Tensor:
    return torch.randn(*shape)


MACS: list[tuple[nn.Module, tuple[Tensor, ...], int]] = [
    (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (image(2, 4, 9, 7),), 2 * 6 * 5 * 4 * 2 * 9),
    (nn.Conv1d(4, 6, 5, dilation=2), (image(3, 4, 20),), 3 * 6 * 12 * 4 * 5),
    (nn.Conv3d(2, 3, 2), (image(1, 2, 4, 5, 6),), 3 * 3 * 4 * 5 * 2 * 8),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (image(2, 4, 5, 5),), 2 * 4 * 25 * 3 * 9),
    (nn.Linear(5, 7), (image(2, 3, 5),), 2 * 3 * 5 * 7),
    (nn.Linear(5, 7, bias=False), (image(5),), 5 * 7),
    (nn.Bilinear(4, 5, 6), (image(3, 4), image(3, 5)), 3 * 4 * 5 * 6),
    (nn.Embedding(9, 5), (torch.zeros(2, 3, dtype=torch.long),), 0),
    (nn.LSTM(5, 7, 2, bidirectional=True), (image(4, 3, 5),), 4 * 3 * 2 * 4 * 7 * ((5 + 7) + (2 * 7 + 7))),
    (nn.GRU(5, 7, batch_first=True), (image(3, 4, 5),), 3 * 4 * 3 * 7 * (5 + 7)),
    (nn.LSTMCell(5, 7), (image(3, 5),), 3 * 4 * 7 * (5 + 7)),
    (
        nn.MultiheadAttention(8, 2, batch_first=True),
        (image(2, 5, 8), image(2, 6, 8), image(2, 6, 8)),
        2 * (5 + 6 + 6 + 5) * 8 * 8 + 2 * 2 * 5 * 6 * 8,
    ),
    (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (image(2, 5, 8),),
        2 * 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 2 * 5 * 5 * 8,
    ),
    (
        Calling(functional.scaled_dot_product_attention),
        (image(2, 3, 4, 8), image(2, 3, 6, 8), image(2, 3, 6, 5)),
        2 * 3 * 4 * 6 * (8 + 5),
    ),
    (Calling(torch.matmul), (image(2, 3, 4), image(4)), 2 * 3 * 4),
    (Calling(torch.addmv), (image(3), image(3, 4), image(4)), 3 * 4),
    (Calling(torch.dot), (image(7), image(7)), 7),
    (Calling(torch.addbmm), (image(3, 5), image(2, 3, 4), image(2, 4, 5)), 2 * 3 * 4 * 5),
    (Calling(lambda left, right: torch.einsum("bij,bkj->bik", left, right)), (image(2, 3, 4), image(2, 5, 4)), 120),
]


@pytest.mark.parametrize(("model", "inputs", "macs"), MACS, ids=lambda each: type(each).__name__)
def test_macs_by_hand(model: nn.Module, inputs: tuple[Tensor, ...], macs: int) -> None:
    made = counted(model, *inputs)
    assert made.macs == macs
    assert made.parameters == sum(each.numel() for each in model.parameters())


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(7, 9),
)
def test_macs_of_any_convolution(
    groups: int, inputs: int, outputs: int, kernel: int, stride: int, padding: int, size: int
) -> None:
    layer = nn.Conv2d(inputs * groups, outputs * groups, kernel, stride, padding, groups=groups)
    side = (size + 2 * padding - kernel) // stride + 1
    made = counted(layer, image(2, inputs * groups, size, size))
    assert made.macs == 2 * outputs * groups * side * side * inputs * kernel * kernel
    assert made.parameters == outputs * groups * (inputs * kernel * kernel + 1)


def test_layers_have_what_is_theirs(net: nn.Module) -> None:
    made = counted(net, image(2, 1, 8, 8))
    rows = [(each.name, each.type, each.parameters, each.macs) for each in made.layers]
    assert rows == [
        ("conv0", "Conv2d", 40, 2 * 4 * 36 * 9),
        ("bn", "BatchNorm2d", 8, 0),
        ("conv1", "Conv2d", 222, 2 * 6 * 16 * 36),
        ("fc", "Linear", 970, 2 * 960),
    ]
    assert (made.parameters, made.macs) == (1240, sum(each.macs or 0 for each in made.layers))
    assert made.macs_elsewhere == 0


def test_a_layer_called_twice_and_one_never_called() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            twice: Tensor = self.used(self.used(x)) @ self.scale
            return twice @ twice.t()

    made = counted(Twice(), image(3, 4))
    assert {each.name: each.macs for each in made.layers} == {"": 3 * 16 + 3 * 3 * 4, "used": 96, "unused": None}
    assert made.macs == 96 + 48 + 36


def test_products_outside_of_layers_are_shown() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Calling(lambda x: x @ x.t()))
    made = counted(model, image(3, 4))
    assert (made.macs, made.macs_elsewhere) == (48 + 36, 36)
    assert "elsewhere" in str(made)


def test_tied_weights_count_once(tied: nn.Module) -> None:
    LevelPruner(tied, HALF).compress()
    made = counted(tied, torch.zeros(2, 3, dtype=torch.long))
    assert made.parameters == 96 + 72
    assert [(each.name, each.parameters, each.macs) for each in made.layers] == [
        ("embed", 96, 0),
        ("mix", 72, 6 * 64),
        ("head", 0, 6 * 96),
    ]
    assert (made.requested, made.achieved) == (0.5, 0.5)


def test_nonzeros_and_sparsities_against_numpy(net: nn.Module) -> None:
    LevelPruner(net, [{"sparsity": 0.5}, {"sparsity": 0.75, "op_names": ["fc"]}]).compress()
    made = counted(net, image(1, 1, 8, 8))
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    assert made.form == "masked"
    assert made.nonzeros == sum(np.count_nonzero(each) for each in weights.values())
    for layer in made.layers:
        weight = weights[f"{layer.name}.weight"]
        assert layer.achieved == pytest.approx(1 - np.count_nonzero(weight) / weight.size)
    assert [each.requested for each in made.layers] == [0.5, None, 0.5, 0.75]
    assert made.requested == pytest.approx((0.5 * 252 + 0.75 * 960) / 1212)
    assert made.achieved == pytest.approx(1 - 366 / 1212)


def test_requests_of_several_pruners_and_of_none(net: nn.Module) -> None:
    LevelPruner(net, HALF).compress()
    pruner = AGPPruner(net, [{"final_sparsity": 0.8, "end_epoch": 10, "op_names": ["fc"]}])
    pruner.compress()
    pruner.update_epoch(5)
    made = counted(net, image(1, 1, 8, 8))
    assert {each.name: each.requested for each in made.layers} == {
        "conv0": 0.5,
        "bn": None,
        "conv1": 0.5,
        "fc": pytest.approx(0.7),
    }
    other = type(net)()
    load_masks(other, {"fc": {"weight": pruner.masks["fc"]["weight"]}})
    loaded = counted(other, image(1, 1, 8, 8))
    assert (loaded.form, loaded.requested, loaded.achieved) == ("masked", None, pytest.approx(0.7, abs=0.001))


def test_a_dense_model_asked_for_nothing(net: nn.Module) -> None:
    made = counted(net, image(1, 1, 8, 8))
    assert (made.form, made.requested, made.achieved, made.notes) == ("dense", None, 0.0, ())
    assert made.nonzeros == sum(int(each.count_nonzero()) for each in net.parameters())


@pytest.mark.parametrize("quantizer", [NaiveQuantizer, QATQuantizer])
def test_quantized_models_are_counted_as_floats(quantizer: Any, net: nn.Module) -> None:
    before = counted(net, image(2, 1, 8, 8))
    config = [{"quant_types": ["weight"], "quant_bits": {"weight": 8}, "op_names": ["conv1", "fc"]}]
    quantizer(net, config).compress()
    made = counted(net, image(2, 1, 8, 8))
    assert (made.parameters, made.macs, made.nonzeros) == (before.parameters, before.macs, before.nonzeros)


def test_a_parametrized_layer_is_one_layer() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU())
    made = counted(model, image(2, 4))
    assert [(each.name, each.parameters, each.macs) for each in made.layers] == [("0", 3 + 3 + 12, 24)]
    assert made.parameters == 18


def test_compiled_models_have_their_own_names(net: nn.Module) -> None:
    plain = counted(net, image(2, 1, 8, 8))
    inside = nn.Sequential(torch.compile(net.conv0, backend="eager"), nn.ReLU())
    whole: Any = torch.compile(net, backend="eager")
    assert counted(whole, image(2, 1, 8, 8)) == plain
    made = counted(inside, image(2, 1, 8, 8))
    assert [(each.name, each.macs) for each in made.layers] == [("0", plain.layers[0].macs)]


def test_half_precision_and_plain_tensors_of_a_module() -> None:
    class Shifted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.shift = torch.ones(4).bfloat16()

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input + self.shift + torch.arange(4, dtype=input.dtype))

    assert counted(Shifted().bfloat16(), image(2, 4).bfloat16()).macs == 32


def test_models_on_meta_and_empty_ones() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 3), nn.Identity())
    made = counted(model, image(2, 4))
    assert (made.parameters, made.macs, made.nonzeros, made.sparse_bytes, made.achieved) == (15, 24, None, None, None)
    with pytest.raises(CompressionError, match=r"meta device.*latency=False"):
        measure(model, image(2, 4))
    empty = measure(nn.Identity(), image(2, 4), repeats=2)
    assert (empty.parameters, empty.macs, empty.dense_bytes, empty.achieved, empty.layers) == (0, 0, 16, None, ())
    assert "in all" in str(empty)


def test_sparse_layers_multiply_what_they_keep() -> None:
    weight = torch.zeros(6, 8)
    weight[1, 2:7] = 1.0
    model = nn.Sequential(SparseLinear(weight, torch.ones(6)), nn.Linear(6, 2)).eval()
    made = counted(model, image(3, 8))
    assert made.form == "sparse"
    assert [(each.parameters, each.nonzeros, each.macs) for each in made.layers] == [(11, 11, 15), (14, 14, 36)]
    assert (made.macs, made.layers[0].achieved) == (51, pytest.approx(1 - 5 / 48))


def test_compact_models_show_their_channels(net: nn.Module) -> None:
    remember(net, Plan({"conv0": Layer({"out": Kept(8, (0, 2, 5, 7)), "in": Kept(3, (1,))})}, {"conv0": 0.5}))
    with torch.no_grad():
        net.conv0.weight[0, 0, 0] = 0.0
    had, has = 8 * 3 * 9, 4 * 1 * 9
    achieved = (had - (has - 3)) / had
    whole: Any = torch.compile(net, backend="eager")
    for model in (net, whole):
        made = counted(model, image(1, 1, 8, 8))
        assert (made.form, made.layers[0].channels) == ("compact", {"out": (4, 8), "in": (1, 3)})
        assert (made.layers[0].requested, made.layers[0].achieved) == (0.5, achieved)
        assert (made.requested, made.achieved) == (0.5, achieved)
    assert made.to_dict()["layers"][0]["channels"]["out"] == {"now": 4, "before": 8}
    assert "out 4 of 8, in 1 of 3" in str(made)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_masked_model_and_what_is_cut_of_it_achieve_the_same(groups: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=groups), nn.Conv2d(8, 5, 1))
    config = [{"sparsity": 0.5, "op_names": ["0", "1"]}]
    L1NormPruner(model, config, mode="dependency_aware", dummy_input=image(1, 3, 9, 9)).compress()
    masked = counted(model, image(1, 3, 9, 9))
    small = counted(speedup(model, None, image(1, 3, 9, 9)), image(1, 3, 9, 9))
    weights = [layer.get_parameter("weight") for layer in model]
    shares = [1 - int(each.count_nonzero()) / each.numel() for each in weights]
    assert [each.achieved for each in small.layers] == pytest.approx(shares)
    assert [each.achieved for each in masked.layers] == pytest.approx(shares)
    assert small.achieved == masked.achieved


def masked_beside_dense(net: nn.Module, faster: float) -> tuple[Cost, Cost]:
    before = counted(net, image(1, 1, 8, 8))
    LevelPruner(net, HALF).compress()
    after = counted(net, image(1, 1, 8, 8))
    return replace(before, latency=(timed(10.0),)), replace(after, latency=(timed(10.0 / faster),))


def timed(median: float) -> Latency:
    return Latency(1, median, median * 1.1, 30, 1, "some device", 1000)


@pytest.mark.parametrize("faster", [0.5, 1.0, 3.0])
def test_masks_never_claim_to_be_faster(net: nn.Module, faster: float) -> None:
    before, after = masked_beside_dense(net, faster)
    for one, two in ((before, after), (after, before), (before, replace(after, form="dense"))):
        made = compare(one, two)
        time = next(each for each in made.figures if each.name.startswith("median"))
        assert (time.ratio, made.notes) == (None, (ZEROS,))
        assert str(made).endswith(ZEROS)
        assert f"{faster:.2f}x" not in next(line for line in str(made).splitlines() if line.startswith("median"))
        assert ZEROS in made.to_dict()["notes"]
    assert str(after).endswith(ZEROS)
    assert ZEROS not in str(before)


def test_times_of_a_busy_machine_have_no_ratio(net: nn.Module) -> None:
    before = replace(counted(net, image(1, 1, 8, 8)), latency=(replace(timed(10.0), waited=0.01),))
    after = replace(before, form="compact", parameters=620, latency=(replace(timed(4.0), waited=0.9),))
    for one, two in ((before, after), (replace(after, form="dense"), replace(before, form="compact"))):
        made = compare(one, two)
        assert next(each.ratio for each in made.figures if each.name.startswith("median")) is None
        assert made.notes == (BUSY,)
    assert (before.notes, after.notes) == ((), (BUSY,))
    calm = compare(before, replace(after, latency=(replace(timed(4.0), waited=None),)))
    assert (calm.figures[-2].ratio, calm.notes) == (2.5, ())


def test_ratios_of_a_smaller_model(net: nn.Module) -> None:
    before = replace(counted(net, image(1, 1, 8, 8)), latency=(timed(10.0),))
    after = replace(before, form="compact", parameters=620, macs=before.macs, latency=(timed(4.0),))
    figures = {each.name: each.ratio for each in compare(before, after).figures}
    assert figures["parameters"] == 2.0
    assert figures["median ms, batch 1"] == 2.5
    assert compare(before, after).notes == ()
    elsewhere = replace(after, latency=(replace(timed(4.0), threads=8),))
    made = compare(before, elsewhere)
    assert next(each.ratio for each in made.figures if each.name.startswith("median")) is None
    assert "different devices" in str(made)


def test_records_are_json_and_tables(net: nn.Module) -> None:
    before, after = masked_beside_dense(net, 2.0)
    for record in (after, compare(before, after), replace(before, macs=None, sparse_bytes=None, nonzeros=None)):
        assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()
        console = Console(width=200, record=True, quiet=True)
        console.print(record)
    lines = str(after).splitlines()
    assert lines[0].split() == ["layer", "type", "parameters", "nonzeros", "MACs", "requested", "achieved", "channels"]
    assert lines[1].split() == ["conv0", "Conv2d", "40", "22", "1,296", "0.5", "0.5", "-"]


@pytest.mark.parametrize(
    ("function", "operation"),
    [(lambda x: x[x > 0], "x\\[x > 0\\]"), (lambda x: x.sum().item(), "item"), (lambda x: x.numpy(), "numpy")],
)
def test_operations_on_values_are_named(function: Callable[[Tensor], Any], operation: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Calling(function))
    with pytest.raises(CompressionError, match=f"failed in layer '1'.*{operation}.*macs=False"):
        counted(model, image(2, 4))
    assert measure(model, image(2, 4), latency=False, macs=False).macs is None


def test_what_is_given_is_checked(net: nn.Module) -> None:
    mistakes: list[tuple[Any, dict[str, Any], str]] = [
        ("net", {}, "given 'net'; expected a model"),
        (net, {"batch_sizes": (0,)}, "batch_sizes: given"),
        (net, {"batch_sizes": ()}, "batch_sizes: given"),
        (net, {"repeats": 0}, "repeats: given 0"),
        (net, {"warmup": -1}, "warmup: given -1"),
        (nn.LazyLinear(3), {}, "has no values yet"),
    ]
    for model, options, said in mistakes:
        with pytest.raises(CompressionError, match=said):
            measure(model, image(1, 1, 8, 8), **options)
    with pytest.raises(CompressionError, match="after: given None; expected a Cost"):
        compare(counted(net, image(1, 1, 8, 8)), None)  # type: ignore[arg-type]


def test_names_resolve_without_torch() -> None:
    code = (
        "import sys; from autoprune.compression import cost, Cost, measure, compare; "
        "assert measure is cost.measure and 'torch' not in sys.modules and 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
