"""Tables and fields on stdout: on a terminal coloured and cut to its width, elsewhere plain and whole."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import click

Row: TypeAlias = Sequence[str]

_STYLES: Mapping[str, str] = {
    **dict.fromkeys(("SUCCEEDED", "DONE"), "green"),
    **dict.fromkeys(("FAILED", "INVALID"), "red"),
    **dict.fromkeys(("INTERRUPTED", "STOPPED", "EARLY_STOPPED", "USER_CANCELED"), "yellow"),
    "RUNNING": "cyan",
    "WAITING": "dim",
}


def print_table(columns: Row, rows: Sequence[Row], numeric: Collection[str] = ()) -> None:
    """`numeric` columns stand to the right."""
    cells = _aligned([columns, *rows], [column in numeric for column in columns])
    _print_lines(cells, [["bold"] * len(columns), *([_style(cell) for cell in row] for row in rows)], cut=True)


def print_fields(pairs: Sequence[tuple[str, str]]) -> None:
    """A name and its value a line; those without a value are left out."""
    shown = [pair for pair in pairs if pair[1]]
    styles = [["bold", _style(value)] for _, value in shown]
    _print_lines(_aligned(shown, [False, False]), styles, cut=False)


def print_heading(text: str) -> None:
    click.echo(f"\n{text}")


def _style(cell: str) -> str:
    return _STYLES.get(cell, "")


def _aligned(rows: Sequence[Row], right: Sequence[bool]) -> list[list[str]]:
    clean = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return [
        [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        for row in clean
    ]


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor or break a line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _print_lines(rows: Sequence[Row], styles: Sequence[Row], *, cut: bool) -> None:
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("  ".join(row).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for row, row_styles in zip(rows, styles, strict=True):
        cells = [Text(cell, style) for cell, style in zip(row, row_styles, strict=True)]
        line = Text("  ").join(cells)
        line.rstrip()
        console.print(line, no_wrap=cut, overflow="ellipsis" if cut else "fold")
