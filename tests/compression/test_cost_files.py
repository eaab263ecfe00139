"""Bytes: against files that safetensors wrote, and codings whose length is known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from autoprune.compression import measure
from autoprune.compression.torch.measuring.files import dense_bytes, sparse_bytes

TYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int8, torch.bool]


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", categories=["L", "N"], include_characters="._"), min_size=1, max_size=9),
        st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 40), max_size=3)),
        max_size=6,
    )
)
def test_bytes_are_those_of_the_file(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> None:
    tensors = {name: torch.ones(shape, dtype=dtype) for name, (dtype, shape) in made.items()}
    path = tmp_path_factory.mktemp("bytes") / "model.safetensors"
    save_file(tensors, path)
    assert dense_bytes(tensors) == path.stat().st_size
    assert sparse_bytes(tensors) <= dense_bytes(tensors) + len(tensors)


def test_bytes_of_models(net: nn.Module, tied: nn.Module, tmp_path: Path) -> None:
    for model, example in ((net.half(), torch.randn(1, 1, 8, 8).half()), (tied, torch.zeros(1, 2, dtype=torch.long))):
        save_file({name: value.clone() for name, value in model.state_dict().items()}, tmp_path / "model")
        assert measure(model, example, latency=False).dense_bytes == (tmp_path / "model").stat().st_size


@pytest.mark.parametrize(
    ("kept", "size", "expected"),
    [
        (5_000, 10_000, 10_000 // 8 + 5_000 * 4),  # a bitmask
        (10, 10_000, 10 * (2 + 4)),  # positions of two bytes
        (10, 200, 10 * (1 + 4)),  # and of one
    ],
)
def test_tensors_are_coded_by_their_zeros(kept: int, size: int, expected: int) -> None:
    tensor = torch.zeros(size)
    tensor[torch.randperm(size)[:kept]] = torch.randn(kept)
    coded = sparse_bytes({"w": tensor}) - (dense_bytes({"w": tensor}) - 4 * size) - 1
    assert 0.7 * expected <= coded <= expected


def test_what_compresses_is_compressed() -> None:
    tensor = torch.ones(100_000)
    assert sparse_bytes({"w": tensor}) < 5_000
    assert sparse_bytes({"w": torch.full((1000,), -0.0)}) > sparse_bytes({"w": torch.zeros(1000)})
