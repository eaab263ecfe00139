"""Exported models: other programs read the files, and compute from them what the model computes."""

from __future__ import annotations

import copy
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from autoprune.compression.torch import LevelPruner
from autoprune.compression.torch.exporting import export_onnx, export_program
from tests.compression.exported import BOTH, Export, Settled, assert_equal, expected, files, flat, run
from tests.compression.loops import same
from tests.compression.zoo import ZOO


class Many(nn.Module):
    """Structured inputs and outputs, and a branch that hangs on a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, a: Tensor, rest: dict[str, Any], times: int = 1, *, scale: Tensor | None = None) -> Any:
        hidden = self.fc(a) - 3 * rest["u"][0]
        if hidden.shape[1] > 3:
            hidden = hidden * 2
        for _ in range(times):
            hidden = hidden + 1
        if scale is not None:
            hidden = hidden * scale
        return {"z": hidden, "a": (hidden.sum(1), [a, None]), "best": hidden.argmax(1), "sign": hidden > 0}


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))

    def forward(self, value: Tensor) -> Tensor:
        out: Tensor = self.body(value)
        return out


@BOTH
def test_the_file_computes_what_the_model_does_at_any_batch_size(
    export: Export, name: str, net: nn.Module, tmp_path: Path
) -> None:
    made = export(net, tmp_path / name, torch.randn(4, 1, 8, 8))
    assert made.batches == (4, 5, 1)
    assert made.bytes == (tmp_path / name).stat().st_size
    assert made.difference < 1e-5
    for size in (1, 2, 4, 9):
        assert_equal(tmp_path / name, net, torch.randn(size, 1, 8, 8))
    assert files(tmp_path) == [name]


@BOTH
def test_an_example_of_one_row_leaves_the_batch_open(export: Export, name: str, tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    assert export(model, tmp_path / name, torch.randn(1, 4)).batches == (1, 2)
    assert_equal(tmp_path / name, model, torch.randn(7, 4))


@BOTH
def test_a_settled_batch_size_takes_no_other(export: Export, name: str, tmp_path: Path) -> None:
    model = Settled()
    assert export(model, tmp_path / name, torch.randn(2, 4), dynamic_batch=False).batches == (2,)
    assert_equal(tmp_path / name, model, torch.randn(2, 4))
    with pytest.raises(Exception, match=r"(?i)invalid dimension|guard failed|expected input"):
        run(tmp_path / name, torch.randn(3, 4))


def test_names_and_the_open_dimension_are_in_the_file(tmp_path: Path) -> None:
    made = export_onnx(ZOO["two_inputs"].build(), str(tmp_path / "m.onnx"), ZOO["two_inputs"].example())
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert made.inputs == tuple(each.name for each in graph.input) == ("image", "vector")
    assert made.outputs == tuple(each.name for each in graph.output)
    assert [each.type.tensor_type.shape.dim[0].dim_param for each in (*graph.input, *graph.output)] == ["batch"] * 3
    assert str(made) == (
        f"{tmp_path / 'm.onnx'}: {made.bytes:,} bytes, opset {made.opset}, image, vector -> {made.outputs[0]}; "
        f"differs from the model by {made.difference:.2g} at most in ONNX Runtime, at batch 2, 3, 1"
    )


def test_the_record_of_a_program_in_words(tmp_path: Path) -> None:
    made = export_program(nn.Linear(4, 3), tmp_path / "m.pt2", torch.randn(2, 4), dynamic_batch=False)
    assert (
        str(made)
        == f"{tmp_path / 'm.pt2'}: {made.bytes:,} bytes; differs from the model by 0 at most in torch, at batch 2"
    )


@BOTH
@pytest.mark.parametrize("form", ["tuple", "list", "keywords", "keywords in another order"])
def test_structured_inputs_and_outputs(export: Export, name: str, form: str, tmp_path: Path) -> None:
    model, a, u = Many(), torch.randn(3, 4), torch.randn(3, 4)
    given: Any = {"tuple": (a, {"u": (u,)}, 2), "list": [a, {"u": (u,)}, 2]}.get(form, {"a": a, "rest": {"u": [u]}})
    if form == "keywords in another order":
        given = {"scale": torch.tensor([2.0, 1, 0, -1]), "times": 0, "rest": {"u": [u]}, "a": a}
    export(model, tmp_path / name, given)
    with torch.no_grad():
        wanted = flat(model(**given) if isinstance(given, dict) else model(*given))
    if name == "m.pt2":
        loaded = torch.export.load(tmp_path / name).module()
        found = flat(loaded(**given) if isinstance(given, dict) else loaded(*given))
    else:
        tensors = [each for each in flat(given) if isinstance(each, Tensor)]
        found = run(tmp_path / name, *tensors)
    torch.testing.assert_close(found, wanted)
    assert [each.dtype for each in found] == [torch.float32, torch.float32, torch.float32, torch.int64, torch.bool]


@BOTH
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True), (2, 6, 4)),
        pytest.param(nn.GRU(4, 5, batch_first=True), (2, 6, 4), marks=pytest.mark.slow),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
        (nn.Conv2d(3, 4, 3, groups=1).to(memory_format=torch.channels_last), (2, 3, 8, 8)),
        pytest.param(nn.ConvTranspose2d(3, 4, 3, stride=2), (2, 3, 8, 8), marks=pytest.mark.slow),
    ],
    ids=["lstm", "gru", "attention", "channels_last", "transposed"],
)
def test_layers_that_exporters_find_hard(
    export: Export,
    name: str,
    model: nn.Module,
    shape: tuple[int, ...],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    export(model, tmp_path / name, torch.randn(shape))
    assert capfd.readouterr() == ("", "")
    assert_equal(tmp_path / name, model, torch.randn(5, *shape[1:]))
    model(torch.randn(shape))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions(dtype: torch.dtype, tmp_path: Path) -> None:
    model, value = nn.Linear(4, 3).to(dtype), torch.randn(2, 4).to(dtype)
    export_onnx(model, tmp_path / "m.onnx", value)
    torch.testing.assert_close(run(tmp_path / "m.onnx", value), expected(model, value))


def test_attention_takes_its_inputs_apart(tmp_path: Path) -> None:
    model, parts = nn.MultiheadAttention(8, 2, batch_first=True), [torch.randn(2, 5, 8) for _ in range(3)]
    made = export_onnx(model, tmp_path / "m.onnx", tuple(parts))
    assert made.inputs == ("query", "key", "value")
    assert_equal(tmp_path / "m.onnx", model, *parts)


@BOTH
def test_a_model_that_writes_on_its_inputs_leaves_the_example(export: Export, name: str, tmp_path: Path) -> None:
    class Writing(Settled):
        def forward(self, value: Tensor) -> Tensor:
            out: Tensor = self.fc(value.add_(1))
            return out

    model, value = Writing(), torch.randn(2, 4)
    before = value.clone()
    export(model, tmp_path / name, value)
    assert torch.equal(value, before)
    torch.testing.assert_close(run(tmp_path / name, before.clone())[-1], expected(model, before.clone())[0])


def pruned(tied: nn.Module) -> nn.Module:
    LevelPruner(tied, [{"op_names": ["mix", "embed"], "sparsity": 0.75}]).compress()
    return tied


def test_a_masked_model_is_exported_with_its_zeros(tied: nn.Module, tmp_path: Path) -> None:
    export_onnx(pruned(tied), tmp_path / "m.onnx", torch.randint(12, (2, 3)))
    stored = [numpy_helper.to_array(each) for each in onnx.load(tmp_path / "m.onnx").graph.initializer]
    zeros = {array.size: int((array == 0).sum()) for array in stored if array.ndim == 2}
    assert zeros == {64: 48, 96: 72}
    assert_equal(tmp_path / "m.onnx", tied, torch.randint(12, (5, 3)))


def test_a_masked_model_as_a_program_has_its_zeros_and_no_more(tied: Any, tmp_path: Path) -> None:
    export_program(pruned(tied), tmp_path / "m.pt2", torch.randint(12, (2, 3)))
    state = torch.export.load(tmp_path / "m.pt2").state_dict
    assert state.keys() == tied.state_dict().keys()
    assert same(dict(state), dict(tied.state_dict()))


@BOTH
def test_a_value_written_where_it_is_pruned_is_not_exported(
    export: Export, name: str, tied: Any, tmp_path: Path
) -> None:
    model = pruned(tied)
    zeros = tied.mix.weight == 0
    tied.mix.weight.data.add_(1)
    export(model, tmp_path / name, torch.randint(12, (2, 3)))
    assert bool((tied.mix.weight[zeros] == 0).all())


@BOTH
def test_the_model_is_left_as_it_was_and_trains_on(export: Export, name: str, tmp_path: Path) -> None:
    model = Dropped()
    LevelPruner(model, [{"op_types": ["Linear"], "sparsity": 0.5}]).compress()
    model(torch.randn(4, 4)).sum().backward()
    model.body[1].eval()
    before = copy.deepcopy(
        [dict(model.state_dict()), [each.grad for each in model.parameters()], torch.get_rng_state()]
    )
    modes, objects = [module.training for module in model.modules()], [id(each) for each in model.parameters()]
    export(model, tmp_path / name, torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    assert same([dict(model.state_dict()), [each.grad for each in model.parameters()], torch.get_rng_state()], before)
    assert [module.training for module in model.modules()] == modes
    assert [id(each) for each in model.parameters()] == objects
    assert_equal(tmp_path / name, model, torch.randn(3, 4))
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert (model.body[0].weight == 0).sum() == 12
    assert copy.deepcopy(model)(torch.randn(4, 4)).shape == (4, 2)


@BOTH
def test_files_name_no_place_of_the_code(export: Export, name: str, tmp_path: Path) -> None:
    export(Many(), tmp_path / name, (torch.randn(2, 4), {"u": (torch.randn(2, 4),)}))
    content = (tmp_path / name).read_bytes()
    assert str(Path(__file__).parent).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


@BOTH
def test_files_have_the_rights_of_any_new_file(export: Export, name: str, tmp_path: Path) -> None:
    export(nn.Linear(4, 3), tmp_path / name, torch.randn(2, 4))
    (tmp_path / "other").touch()
    rights = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert len(rights) == 1


def test_the_opset_that_was_asked_for(tmp_path: Path) -> None:
    made = export_onnx(nn.Linear(4, 3), tmp_path / "m.onnx", torch.randn(2, 4), opset=18)
    assert made.opset == 18
    assert [each.version for each in onnx.load(tmp_path / "m.onnx").opset_import if not each.domain] == [18]


def test_weights_too_large_for_one_file_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 10_000)
    model = nn.Linear(100, 90)
    made = export_onnx(model, tmp_path / "m.onnx", torch.randn(2, 100))
    assert made.files == (tmp_path / "m.onnx", tmp_path / "m.onnx.data")
    assert files(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert made.bytes == sum(each.stat().st_size for each in made.files) > 4 * 9000
    assert_equal(tmp_path / "m.onnx", model, torch.randn(3, 100))


SCRIPT = """
import sys, torch
from torch import nn
from autoprune.compression.torch.exporting import export_onnx, export_program

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.lstm = nn.LSTM(4, 5, batch_first=True)
    def forward(self, value):
        return self.lstm(self.norm(value))[0]

export_onnx(Net(), sys.argv[1] + "/m.onnx", torch.randn(2, 6, 4))
export_program(Net(), sys.argv[1] + "/m.pt2", torch.randn(2, 6, 4))
"""


@pytest.mark.slow
def test_exporting_says_nothing_and_warns_of_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files(tmp_path) == ["m.onnx", "m.pt2"]


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("entry", ZOO)
def test_every_net_of_the_zoo_runs_elsewhere(export: Export, name: str, entry: str, tmp_path: Path) -> None:
    model, example = ZOO[entry].build(), ZOO[entry].example()
    made = export(model, tmp_path / name, example)
    assert made.batches == (2, 3, 1)
    arrays = flat(example if isinstance(example, dict | tuple) else [example])
    larger = [torch.cat([array, array.flip(0), array]) for array in arrays]
    if name == "m.pt2" and isinstance(example, dict):
        found = flat(torch.export.load(tmp_path / name).module()(**dict(zip(example, larger, strict=True))))
    else:
        found = run(tmp_path / name, *larger)
    torch.testing.assert_close(found, expected(model, *larger), atol=1e-5, rtol=1e-5)
