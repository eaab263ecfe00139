"""Exported files read back, by the runtimes that they are for and by nothing of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.torch.exporting import ExportedOnnx, ExportedProgramFile, export_onnx, export_program

Export: TypeAlias = Callable[..., ExportedOnnx | ExportedProgramFile]
BOTH = pytest.mark.parametrize(("export", "name"), [(export_onnx, "m.onnx"), (export_program, "m.pt2")])


def flat(value: Any) -> list[Any]:
    """Every leaf of what a model returns, without None."""
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [leaf for item in value for leaf in flat(item)]
        if isinstance(value, list | tuple)
        else [value][: value is not None]
    )


def run(path: Path, *arrays: Tensor) -> list[Tensor]:
    """The outputs of a file of either kind, by the runtime it is for and by nothing of ours."""
    if path.suffix == ".pt2":
        return flat(torch.export.load(path).module()(*arrays))
    session = onnxruntime.InferenceSession(path)
    feeds = {each.name: array.numpy() for each, array in zip(session.get_inputs(), arrays, strict=True)}
    return [torch.from_numpy(np.asarray(each)) for each in session.run(None, feeds)]


def expected(model: nn.Module, *arrays: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return flat(copy.deepcopy(model).eval()(*arrays))


def assert_equal(path: Path, model: nn.Module, *arrays: Tensor) -> None:
    torch.testing.assert_close(run(path, *arrays), expected(model, *arrays), atol=1e-5, rtol=1e-5)


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


class Settled(nn.Module):
    """One that is for batches of two."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, value: Tensor) -> Tensor:
        out: Tensor = self.fc(value)
        return out if value.shape[0] == 2 else out + 1
