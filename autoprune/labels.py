"""What the figures of a model are called, wherever people read them."""

from __future__ import annotations

from collections.abc import Mapping

from autoprune.latency import REPORTED, REPORTED_SHARE

_NOT_ZERO = "parameters that are not zero"
_COMPARED = {
    "nonzeros": _NOT_ZERO,
    "macs": "MACs",
    "dense_bytes": "file, bytes",
    "sparse_bytes": "file with zeros left out, bytes",
    "weight_memory": "weights in memory, bytes",
}
TASK_NUMBERS: Mapping[str, str] = {
    "parameters": _NOT_ZERO,
    "macs": "MACs",
    "bytes": "file, bytes",
    REPORTED: "latency, ms",
    REPORTED_SHARE: "latency, share of the dense model's",
}
"""What trials of a task report."""


def figure_name(name: str) -> str:
    """Of a figure in a comparison of two models."""
    kind, _, batch = name.partition(", ")
    if batch:
        return f"latency, {batch}, ms" if kind == "median ms" else f"{kind}, {batch}, bytes"
    return _COMPARED.get(name, name)
