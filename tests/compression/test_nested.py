"""Batches in parts: nothing is lost, rows stay together, and what has no rows stays whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoprune.compression.torch.nested import in_parts


@given(st.integers(1, 20), st.integers(1, 24))
def test_parts_are_of_so_many_rows_and_make_the_batch_again(count: int, rows: int) -> None:
    inputs, target = torch.arange(count * 2.0).view(count, 2), torch.arange(count)
    parts = list(in_parts((inputs, target), rows))
    assert [len(part[1]) for part in parts] == [rows] * (count // rows) + ([count % rows] if count % rows else [])
    assert torch.equal(torch.cat([part[0] for part in parts]), inputs)
    assert torch.equal(torch.cat([part[1] for part in parts]), target)


def test_all_tensors_of_a_batch_are_cut_alike_and_others_are_in_every_part() -> None:
    table, inputs = torch.zeros(3, 7), torch.arange(10.0).view(5, 2)
    target = {"label": torch.arange(5), "box": torch.arange(20).view(5, 4)}
    batch = [{"inputs": inputs, "more": (inputs * 2, "name", None), "table": table}, target]
    first, *_, last = in_parts(batch, 2)
    assert torch.equal(first[0]["more"][0], inputs[:2] * 2)
    assert first[0]["more"][1:] == ("name", None)
    assert first[0]["table"] is table
    assert torch.equal(last[0]["inputs"], inputs[4:])
    assert last[1]["box"].shape == (1, 4)


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(6, 2),
        (torch.zeros(6, 2),),
        (torch.zeros(6, 2), torch.zeros(3)),
        (torch.zeros(6, 2), torch.tensor(1.0)),
        (torch.zeros(6, 2), None),
        (torch.zeros(6), torch.zeros(6), torch.zeros(6)),
        "text",
    ],
)
def test_a_batch_without_rows_in_common_comes_whole(batch: Any) -> None:
    (whole,) = in_parts(batch, 2)
    assert whole is batch


def test_no_number_of_rows_leaves_a_batch_whole() -> None:
    batch = (torch.zeros(6, 2), torch.zeros(6))
    (whole,) = in_parts(batch, None)
    assert whole is batch
