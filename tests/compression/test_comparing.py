"""Files held to what the model computes: a difference in any value, type or shape, at any batch size, is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import nested
from autoprune.compression.torch.comparing import Cases


def cases(model: nn.Module, value: Tensor) -> Cases:
    with torch.no_grad():
        return Cases.of("here", model, value, any_batch=True)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_a_file_that_is_a_little_off_at_one_batch_size_is_found(scale: float) -> None:
    model = nn.Hardtanh(-scale, scale)
    value = torch.tensor([[-2.0, 0.3], [0.1, 2.0]]) * scale

    def off(by: float) -> Callable[[Any], list[Tensor]]:
        return lambda inputs: [model(*inputs) + (by * scale if len(inputs[0]) == 3 else 0)]

    assert cases(model, value).difference("R", off(5e-5)) == pytest.approx(5e-5 * scale, rel=0.02)
    with pytest.raises(CompressionError, match=r"here: given a Hardtanh whose output 0 differs by .* for a batch of 3"):
        cases(model, value).difference("R", off(2e-4))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: [out.double()], "float64"),
        (lambda out: [out[:, :1]], r"\(2, 1\)"),
        (lambda out: [out, out], "become"),
        (lambda out: [], "become"),
        (lambda out: [out.masked_fill(out > 0, torch.nan)], "differs by inf"),
        (lambda out: [torch.where(out > 0, torch.inf, out)], "differs by inf"),
    ],
)
def test_outputs_of_another_kind_are_found(change: Callable[[Tensor], list[Tensor]], said: str) -> None:
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(CompressionError, match=said):
        cases(nn.Identity(), value).difference("R", lambda inputs: change(inputs[0]))


def test_counts_have_to_be_equal_and_infinities_are() -> None:
    tokens = torch.tensor([[5_000_000], [7]])
    with pytest.raises(CompressionError, match="differs by 1 "):
        cases(nn.Identity(), tokens).difference("R", lambda inputs: [inputs[0] + 1])
    odd = torch.tensor([[torch.inf, -torch.inf, torch.nan, 1.0]] * 2)
    assert cases(nn.Identity(), odd).difference("R", lambda inputs: [inputs[0].clone()]) == 0


def test_a_runtime_that_breaks_is_named() -> None:
    def breaks(inputs: Any) -> list[Tensor]:
        raise RuntimeError("no such kernel\nat 0x0") from ValueError("the kernel of Gemm")

    with pytest.raises(CompressionError, match=r"does not run in R, for a batch of 2 \(the kernel of Gemm\)"):
        cases(nn.Identity(), torch.randn(2, 2)).difference("R", breaks)


def test_rows_are_repeated_only_where_there_is_a_batch() -> None:
    inputs = {"a": torch.tensor([[1], [2]]), "b": [torch.zeros(3), 7], "c": torch.tensor(4.0)}
    larger = nested.resized(inputs, 2, 3)
    assert larger["a"].tolist() == [[1], [2], [1]]
    assert larger["b"][0].shape == (3,)
    assert (larger["b"][1], float(larger["c"])) == (7, 4.0)
