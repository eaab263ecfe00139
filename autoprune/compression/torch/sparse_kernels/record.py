"""What `to_sparse` tried, layer by layer, and what it was worth to the whole model. Every figure was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_HEADINGS = ("layer", "shape", "inputs", "zeros", "dense ms", "sparse ms", "ratio", "computes")
_LEFT = (0, 1, 2, 7)


@dataclass(frozen=True)
class SparseRow:
    """One Linear: its best kernel, and why it stays dense if it does.

    `inputs` are the shapes that it was timed with, and the times are for all its calls in one run of the model; both
    are None, as is `kernel`, where nothing was tried.
    """

    layer: str
    shape: tuple[int, int]
    sparsity: float
    inputs: tuple[tuple[int, ...], ...] = ()
    kernel: str | None = None
    dense_ms: float | None = None
    sparse_ms: float | None = None
    reason: str = ""

    @property
    def replaced(self) -> bool:
        return not self.reason

    @property
    def ratio(self) -> float | None:
        """How many times as fast the sparse kernel is."""
        return None if self.dense_ms is None or self.sparse_ms is None else self.dense_ms / self.sparse_ms

    @property
    def cells(self) -> tuple[str, ...]:
        shapes = " ".join("x".join(map(str, each)) or "scalar" for each in self.inputs)
        computes = f"{self.kernel}" if self.replaced else f"dense: {self.reason}"
        times = (_figure(self.dense_ms), _figure(self.sparse_ms), _times(self.ratio))
        return (
            self.layer or "(itself)",
            "x".join(map(str, self.shape)),
            shapes,
            f"{self.sparsity:.4f}",
            *times,
            computes,
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "shape": list(self.shape),
            "sparsity": self.sparsity,
            "inputs": [list(each) for each in self.inputs],
            "kernel": self.kernel,
            "dense_ms": self.dense_ms,
            "sparse_ms": self.sparse_ms,
            "ratio": self.ratio,
            "replaced": self.replaced,
            "reason": self.reason,
        }


@dataclass(frozen=True, repr=False)
class SparseReport:
    """A row for each Linear, and one run of the whole model, dense and sparse, where it was timed."""

    rows: tuple[SparseRow, ...]
    device: str
    threads: int
    margin: float
    dense_ms: float | None = None
    sparse_ms: float | None = None

    @property
    def replaced(self) -> tuple[str, ...]:
        """The layers that are sparse now."""
        return tuple(row.layer for row in self.rows if row.replaced)

    @property
    def ratio(self) -> float | None:
        """How many times as fast the whole model is; None where that was not measured."""
        return None if self.dense_ms is None or self.sparse_ms is None else self.dense_ms / self.sparse_ms

    @property
    def faster(self) -> bool | None:
        """Whether the whole model gains at least the margin; None where that was not measured."""
        return None if self.ratio is None else self.ratio >= self.margin

    @property
    def verdict(self) -> str:
        """What it was worth, in a sentence."""
        if not self.replaced:
            return "No layer was replaced: the model is as fast as it was."
        if self.ratio is None:
            return (
                "The whole model was not timed, because no example_input was given: whether it is faster is unknown. "
                "Each layer was timed by itself with one random row."
            )
        figures = f"{_figure(self.dense_ms)} ms dense, {_figure(self.sparse_ms)} ms sparse, {_times(self.ratio)}"
        if self.faster:
            return f"The whole model is faster: {figures}."
        return f"The whole model is NOT faster by the margin of {self.margin:g}: {figures}."

    def to_dict(self) -> dict[str, Any]:
        return {
            "layers": [row.to_dict() for row in self.rows],
            "device": self.device,
            "threads": self.threads,
            "margin": self.margin,
            "dense_ms": self.dense_ms,
            "sparse_ms": self.sparse_ms,
            "ratio": self.ratio,
            "faster": self.faster,
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        lines = [_HEADINGS, *(row.cells for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
        where = f"Timed on {self.device}" + (f" with {self.threads} threads." if self.device == "cpu" else ".")
        return "\n".join([*table, where, self.verdict])

    __repr__ = __str__


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"


def _aligned(line: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if index in _LEFT else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
