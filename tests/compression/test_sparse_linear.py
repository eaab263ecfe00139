"""A Linear without its zeros computes what the dense one does, moves and loads as one, and says what it can not do."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.sparse_kernels import SparseLinear
from autoprune.compression.torch.sparse_kernels.kernels import is_two_four, kernels_for


def pruned(rows: int, columns: int, sparsity: float, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(rows, columns, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(columns, rows) >= sparsity)
    return layer


def same(one: nn.Module, other: nn.Module, *inputs: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(one(*inputs), other(*inputs), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    leading=st.lists(st.integers(0, 4), max_size=3),
    sparsity=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_sparse_linear_computes_what_the_dense_one_does(
    rows: int, columns: int, leading: list[int], sparsity: float, bias: bool, dtype: torch.dtype
) -> None:
    dense = pruned(columns, rows, sparsity, bias=bias).to(dtype).eval()
    sparse = SparseLinear(dense.weight, dense.bias).eval()
    inputs = torch.randn(*leading, columns, dtype=dtype)
    expected, output = dense(inputs), sparse(inputs)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-5, atol=1e-5)
    assert output.is_contiguous()
    assert sparse.values.numel() == int((dense.weight != 0).sum())


@pytest.mark.parametrize("batch", [1, 32])
def test_of_real_size_and_for_inputs_of_any_stride(batch: int) -> None:
    dense = pruned(1024, 512, 0.9).eval()
    sparse = SparseLinear(dense.weight, dense.bias).eval()
    same(sparse, dense, torch.randn(batch, 1024))
    same(sparse, dense, torch.randn(1024, batch).t())
    same(sparse, dense, torch.randn(1, 1024).expand(batch, 3, 1024))


def test_gradients_of_its_input_are_those_of_the_dense_one() -> None:
    dense = pruned(6, 5, 0.5).eval()
    sparse = SparseLinear(dense.weight, dense.bias).eval()
    for shape in ((6,), (1, 6), (4, 6)):
        inputs = torch.randn(*shape, requires_grad=True)
        (expected,) = torch.autograd.grad(dense(inputs).square().sum(), inputs)
        (found,) = torch.autograd.grad(sparse(inputs).square().sum(), inputs)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not any(each.requires_grad for each in sparse.parameters())


def test_calls_that_it_can_not_answer_are_errors() -> None:
    layer = SparseLinear(pruned(6, 5, 0.5).weight).eval()
    with pytest.raises(CompressionError, match=r"given an input of shape \(10, 3\).*expected 6 features"):
        layer(torch.randn(10, 3))
    with pytest.raises(CompressionError, match=r"torch\.float64; expected 6 features .* and torch\.float32"):
        layer(torch.randn(2, 6, dtype=torch.float64))
    with pytest.raises(CompressionError, match="under autocast"), torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.randn(2, 6))
    with pytest.raises(CompressionError, match="in training mode; expected eval mode: it is for inference only"):
        layer.train()(torch.randn(2, 6))


def test_moves_of_type_and_device() -> None:
    layer = SparseLinear(pruned(6, 5, 0.5).weight).eval()
    inputs = torch.randn(3, 6)
    expected = layer(inputs)
    torch.testing.assert_close(copy.deepcopy(layer).double()(inputs.double()), expected.double())
    for kind in (torch.float16, torch.bfloat16):
        with pytest.raises(CompressionError, match="expected ones that torch multiplies there as CSR"):
            copy.deepcopy(layer).to(kind)(inputs.to(kind))
    assert {each.device.type for each in layer.to("meta").state_dict().values()} == {"meta"}


def test_its_state_loads_in_place_or_assigned_and_must_be_csr() -> None:
    weight = torch.tensor([[1.0, 0, 2], [0, 3, 0]])
    other = torch.tensor([[0.0, 4, 0], [5, 0, 6]])
    inputs = torch.randn(2, 3)
    for assign in (False, True):
        layer = SparseLinear(weight, torch.ones(2)).eval()
        layer.load_state_dict(SparseLinear(other, torch.zeros(2)).state_dict(), assign=assign)
        torch.testing.assert_close(layer(inputs), inputs @ other.t())
        assert torch.equal(layer.weight.to_dense(), other)
    with pytest.raises(RuntimeError, match="size mismatch for values"):
        layer.load_state_dict(SparseLinear(torch.ones(2, 3), torch.zeros(2)).state_dict())
    broken = {**layer.state_dict(), "col_indices": torch.tensor([0, 7, 1], dtype=torch.int32)}
    with pytest.raises(RuntimeError, match="are no CSR of this shape"):
        layer.load_state_dict(broken)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.0]), min_size=8, max_size=8), min_size=1, max_size=4))
def test_two_four_is_two_of_four(rows: list[list[float]]) -> None:
    quads = [row[start : start + 4] for row in rows for start in (0, 4)]
    assert is_two_four(torch.tensor(rows)) == all(sum(quad) <= 2 for quad in quads)


def test_two_four_needs_rows_of_fours_and_a_device_that_has_it() -> None:
    assert not is_two_four(torch.zeros(2, 6))
    assert list(kernels_for(torch.zeros(64, 64, dtype=torch.float16))) == ["csr"]
