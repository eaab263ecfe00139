"""How sensitive the layers of a task's model are, as tables: a row for a group of layers, a column for a sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprune.records import JSON


@dataclass(frozen=True)
class CurveTable:
    """The curves that one pruner has."""

    pruner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def curve_tables(facts: Mapping[str, JSON]) -> list[CurveTable]:
    """One for each pruner that was scanned.

    Groups of few filters reach few sparsities. The columns are those of the group that is divided most finely, and a
    value is in the column that is nearest to its sparsity.
    """
    tables = []
    for pruner in dict.fromkeys(curve["pruner"] for curve in facts["curves"]):
        groups = _groups(pruner, facts)
        curves = {curve["group"]: curve for curve in facts["curves"] if curve["pruner"] == pruner}
        scanned = sorted(groups, key=lambda group: group["units"] or group["size"])
        finest = curves[scanned[-1]["name"]]["sparsities"]
        if finest:
            rows = tuple(_row(group, curves.get(group["name"]), finest) for group in groups)
            tables.append(CurveTable(pruner, ("layer", "size", *(f"{sparsity:.2g}" for sparsity in finest)), rows))
    return tables


def curve_lines(facts: Mapping[str, JSON]) -> list[str]:
    """The same as plain lines."""
    lines = []
    for table in curve_tables(facts):
        lines.append(heading(table.pruner, facts))
        cells = [table.columns, *table.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            name, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([name.strip().ljust(widths[0]), *others]).rstrip())
    return lines


def heading(pruner: str, facts: Mapping[str, JSON]) -> str:
    dense = facts["dense"]["default"]
    return f"{pruner}: the model where one layer alone has this sparsity, untrained (dense: {dense:.6g})"


def _groups(pruner: str, facts: Mapping[str, JSON]) -> list[Mapping[str, Any]]:
    """Those of a pruner that was scanned, if only in place of one that has no curves of its own: gradual."""
    scanned = {curve["pruner"] for curve in facts["curves"]}
    known: Mapping[str, list[Mapping[str, Any]]] = facts["groups"]
    return known[pruner] if pruner in known else next(known[name] for name in known if name not in scanned)


def _row(group: Mapping[str, Any], curve: Mapping[str, Any] | None, columns: Sequence[float]) -> tuple[str, ...]:
    cells = [""] * len(columns)
    for sparsity, value in zip(curve["sparsities"], curve["values"], strict=True) if curve else ():
        nearest = min(range(len(columns)), key=lambda place: abs(columns[place] - sparsity))
        cells[nearest] = "-" if value is None else f"{value:.4g}"
    size = f"{group['size']:,}" if group["units"] is None else f"{group['units']} filters"
    return (group["name"], size, *cells)
