"""What was asked for and what came of it, layer by layer: `autoprune.compression.report(model)`.

A sparsity that was asked for is reached to the element in the layer, or in the layers that share a budget, so a
difference tells of something else: a second pruner, masks that touch more than weights, a schedule under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoprune.compression.core.errors import CompressionError, shown

if TYPE_CHECKING:
    from rich.table import Table
    from torch import nn

    from autoprune.compression.torch.masking import Request
    from autoprune.compression.torch.named_masks import NamedMask, NamedTensors

_HEADINGS = ("layer", "parameter", "type", "requested", "achieved", "kept", "total")
_LEFT = 4


@dataclass(frozen=True)
class Row:
    """One masked parameter: what each of its pruners was asked for, and how much of it is kept."""

    layer: str
    parameter: str
    type: str
    requests: tuple[Request, ...]
    kept: int
    total: int

    @property
    def achieved(self) -> float:
        return _share(self.kept, self.total)

    @property
    def requested(self) -> str:
        """In words: "0.8", "0.39 of 0.8" on the way there, "0.8 in all" of a budget that several layers share."""
        return " and ".join(_requested(request) for request in self.requests) or "-"

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.layer, self.parameter, self.type, self.requested, *_figures(self.kept, self.total))

    def to_dict(self) -> dict[str, Any]:
        asked = [
            {"pruner": each.pruner, "sparsity": each.sparsity, "target": each.target, "pooled": each.pooled}
            for each in self.requests
        ]
        return {
            "layer": self.layer,
            "parameter": self.parameter,
            "type": self.type,
            "requested": asked,
            "achieved": self.achieved,
            "kept": self.kept,
            "total": self.total,
        }


@dataclass(frozen=True, repr=False)
class Report:
    """A row for each masked parameter. `str` and `repr` are a table; so is `rich.print`."""

    rows: tuple[Row, ...]

    @property
    def kept(self) -> int:
        return sum(row.kept for row in self.rows)

    @property
    def total(self) -> int:
        return sum(row.total for row in self.rows)

    @property
    def achieved(self) -> float:
        return _share(self.kept, self.total)

    @property
    def pruners(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(request.pruner for row in self.rows for request in row.requests))

    @property
    def unfinished(self) -> tuple[str, ...]:
        """A sentence for each pruner whose schedule has not reached its target."""
        return tuple(text for pruner in self.pruners if (text := self._unfinished(pruner)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "layers": [row.to_dict() for row in self.rows],
            "achieved": self.achieved,
            "kept": self.kept,
            "total": self.total,
            "unfinished": list(self.unfinished),
        }

    def __str__(self) -> str:
        lines = [_HEADINGS, *(row.cells for row in self.rows), self._totals]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
        return "\n".join([*table, *self.unfinished])

    __repr__ = __str__

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(show_footer=True, caption=Text("\n".join(self.unfinished)) if self.unfinished else None)
        for index, (heading, total) in enumerate(zip(_HEADINGS, self._totals, strict=True)):
            table.add_column(heading, footer=total, justify="left" if index < _LEFT else "right")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row.cells))
        return table

    @property
    def _totals(self) -> tuple[str, ...]:
        return ("in all", "", "", "", *_figures(self.kept, self.total))

    def _unfinished(self, pruner: str) -> str:
        asked = [request for row in self.rows for request in row.requests if request.pruner == pruner]
        now, last = ({getattr(each, name) for each in asked if _is_unfinished(each)} for name in ("sparsity", "target"))
        return f"{pruner}: now {_range(now)} of a schedule that ends at {_range(last)}" if now else ""


def report(model: nn.Module, masks: NamedTensors | None = None) -> Report:
    """What a masked model was asked for and has: with all its masks, or with those given, of `compress`."""
    from torch import nn

    from autoprune.compression.torch import named_masks

    if not isinstance(model, nn.Module):
        raise CompressionError(f"report: given {shown(model)}; expected a model, and masks beside it if you like")
    found = named_masks.carried(model) if masks is None else named_masks.matched(model, masks, "report")
    if not found:
        raise CompressionError(
            "report: given a model without masks; expected one that compress() has masked, or masks beside it"
        )
    return Report(tuple(_row(each) for each in found))


def _row(mask: NamedMask) -> Row:
    kept, total = int(mask.keep.count_nonzero()), mask.keep.numel()
    return Row(mask.layer, mask.parameter, type(mask.module).__name__, mask.requests, kept, total)


def _requested(request: Request) -> str:
    if request.sparsity is None:
        return "-"
    of = f" of {_number(request.target)}" if _is_unfinished(request) else ""
    return f"{_number(request.sparsity)}{of}{' in all' if request.pooled else ''}"


def _is_unfinished(request: Request) -> bool:
    return request.sparsity is not None and request.target is not None and request.sparsity < request.target


def _range(values: set[float]) -> str:
    low, high = _number(min(values)), _number(max(values))
    return low if low == high else f"{low} to {high}"


def _number(value: float | None) -> str:
    return f"{value:.4g}"


def _figures(kept: int, total: int) -> tuple[str, str, str]:
    return f"{_share(kept, total):.4f}", str(kept), str(total)


def _share(kept: int, total: int) -> float:
    return 1 - kept / total if total else 0.0


def _aligned(line: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if index < _LEFT else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
