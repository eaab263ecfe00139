"""Exports that cannot be done: the error says why, and the folder is as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.exporting import export_onnx, export_program
from tests.compression.exported import BOTH, Export, Settled, assert_equal, files


class Random(Settled):
    def forward(self, value: Tensor) -> Tensor:
        out: Tensor = self.fc(value) + torch.rand_like(value)
        return out


class Branching(Settled):
    def forward(self, value: Tensor) -> Tensor:
        out: Tensor = self.fc(value) if value.sum() > 0 else value
        return out


class Singular(Settled):
    def forward(self, value: Tensor) -> Tensor:
        return torch.linalg.svdvals(self.fc(value)[:, None, :])


class Counting(Settled):
    def forward(self, value: Tensor) -> Any:
        return self.fc(value), 3


class Loose(Settled):
    def forward(self, **values: Tensor) -> Tensor:
        out: Tensor = self.fc(values["value"])
        return out


@BOTH
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Random(), r"a Random whose output 0 differs by 0\.\d+ in .*random numbers"),
        (Branching(), "a Branching that torch.export cannot trace .*control flow does not hang on the values"),
        (Settled(), r"a Settled whose code settles the batch size.*dynamic_batch=False exports it for batches of 2"),
        (Counting(), "a model that returns 3; expected tensors"),
    ],
    ids=["random", "branching", "settled", "counting"],
)
def test_what_cannot_be_exported_leaves_the_folder_and_says_why(
    export: Export, name: str, model: nn.Module, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("an earlier one")
    with pytest.raises(CompressionError, match=said) as caught:
        export(model, tmp_path / name, torch.randn(2, 4))
    assert str(caught.value).startswith(export.__name__)
    assert files(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "an earlier one"
    assert model.training
    assert capfd.readouterr() == ("", "")


def test_an_operation_that_onnx_lacks(tmp_path: Path) -> None:
    model = Singular()
    with pytest.raises(CompressionError, match=r"a Singular that torch.onnx cannot translate .*_linalg_svd"):
        export_onnx(model, tmp_path / "m.onnx", torch.randn(2, 4))
    assert not files(tmp_path)
    export_program(model, tmp_path / "m.pt2", torch.randn(2, 4))
    assert_equal(tmp_path / "m.pt2", model, torch.randn(3, 4))


def test_a_type_that_the_runtime_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        CompressionError, match=r"whose file does not run in ONNX Runtime .*Could not find an implementation"
    ):
        export_onnx(nn.Linear(4, 3).bfloat16(), tmp_path / "m.onnx", torch.randn(2, 4).bfloat16())
    assert not files(tmp_path)


@BOTH
def test_inputs_that_leave_no_batch_to_vary(export: Export, name: str, tmp_path: Path) -> None:
    with pytest.raises(
        CompressionError, match=r"takes a batch of 4 and not of 5 .*dynamic_batch=False exports it for 4"
    ):
        export(nn.Linear(4, 3), tmp_path / name, torch.randn(4))
    with pytest.raises(CompressionError, match="expected a batch of at least one"):
        export(nn.Linear(4, 3), tmp_path / name, torch.randn(0, 4))
    with pytest.raises(CompressionError, match=r"forward\(\*\*values\).*or dynamic_batch=False"):
        export(Loose(), tmp_path / name, {"value": torch.randn(2, 4)})
    assert not files(tmp_path)
    export(Loose(), tmp_path / name, {"value": torch.randn(2, 4)}, dynamic_batch=False)


@BOTH
def test_places_that_cannot_be_written_to(export: Export, name: str, tmp_path: Path) -> None:
    model, value = nn.Linear(4, 3), torch.randn(2, 4)
    with pytest.raises(CompressionError, match="expected a name that ends in "):
        export(model, tmp_path / "m.bin", value)
    with pytest.raises(CompressionError, match="expected a folder that exists"):
        export(model, tmp_path / "missing" / name, value)
    (tmp_path / name).mkdir()
    with pytest.raises(CompressionError, match="expected a file that can be written"):
        export(model, tmp_path / name, value)
    assert files(tmp_path) == [name]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CompressionError, match=rf"without {package} .*pip install autoprune\[onnx\]"):
        export_onnx(nn.Linear(4, 3), tmp_path / "m.onnx", torch.randn(2, 4))


def test_an_opset_that_there_is_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CompressionError, match=r"given opset=99; expected one that torch.onnx can write"):
        export_onnx(nn.Linear(4, 3), tmp_path / "m.onnx", torch.randn(2, 4), opset=99)
    assert not files(tmp_path)
    assert capfd.readouterr() == ("", "")
