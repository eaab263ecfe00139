"""How sensitive the layers of a task's model are, as tables: of each group of layers what was measured, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    Groups of few filters reach few sparsities, so each group has a row of its own sparsities above that of its values.
    """
    tables = []
    for pruner in dict.fromkeys(curve["pruner"] for curve in facts["curves"]):
        curves = {curve["group"]: curve for curve in facts["curves"] if curve["pruner"] == pruner}
        most = max(len(curve["sparsities"]) for curve in curves.values())
        rows = [row for group in _groups(pruner, facts) for row in _rows(group, curves.get(group["name"]), most)]
        if most:
            columns = ("layer", "size", "point", *map(str, range(1, most + 1)))
            tables.append(CurveTable(pruner, columns, tuple(rows)))
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


def _rows(group: Mapping[str, Any], curve: Mapping[str, Any] | None, most: int) -> Iterator[tuple[str, ...]]:
    size = f"{group['size']:,}" if group["units"] is None else f"{group['units']} filters"
    sparsities, values = (curve["sparsities"], curve["values"]) if curve else ([], [])
    missing = [""] * (most - len(values))
    yield (group["name"], size, "sparsity", *(f"{sparsity:.3g}" for sparsity in sparsities), *missing)
    yield (group["name"], "", "value", *("-" if value is None else f"{value:.4g}" for value in values), *missing)
