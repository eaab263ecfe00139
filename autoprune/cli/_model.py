"""What is said of a model that a search has made: where it is, how good, at what cost, and ahead of what."""

from __future__ import annotations

from pathlib import Path

import click

from autoprune.protocol import REPORT
from autoprune.records import JSON

_CARD = "card.md"


def show_model(result: JSON, folder: Path) -> None:
    """A few lines; the card has all of it."""
    click.echo(f"model: {folder / result['files'][0]} (trial {result['trial']}): {result['said']}")
    if result["verdict"] is not None:
        click.echo(result["verdict"]["said"])
    click.echo(f"card: {folder / _CARD}; once more: {result['again']}")
    if (folder / REPORT).exists():
        click.echo(f"report: {folder / REPORT}")
