"""The sparsity of each layer as bars: of the best trial, while a task is searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoprune.records import JSON
from autoprune.search_space.leaves import is_number

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 24
MOST = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LONGEST_NAME = 28


def sparsities(metrics: Mapping[str, JSON]) -> dict[str, float]:
    """The sparsity of each layer, as a trial of a task reports it; empty for any other trial."""
    layers = metrics.get("layers")
    if not isinstance(layers, Mapping):
        return {}
    given = {str(name): layer.get("sparsity") for name, layer in layers.items() if isinstance(layer, Mapping)}
    return {name: float(value) for name, value in given.items() if is_number(value) and 0 <= value <= 1}


def draw(layers: Mapping[str, float], encoding: str) -> list[Text]:
    """A bar for each layer, in the order of the model; of many layers the first, and how many more there are."""
    from rich.text import Text

    width = min(max(map(len, layers), default=0), _LONGEST_NAME)
    lines = [
        Text.assemble(
            (f"      {shortened(name):<{width}}  ", "dim"),
            (bar(sparsity, encoding), "cyan"),
            f" {sparsity:7.2%}",
            no_wrap=True,
        )
        for name, sparsity in list(layers.items())[:MOST]
    ]
    more = len(layers) - MOST
    return [*lines, Text(f"      and {more} more layers", style="dim")] if more > 0 else lines


def shortened(name: str) -> str:
    """The end of a long name tells more than its beginning."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def bar(share: float, encoding: str) -> str:
    """A bar of a fixed width, as full as the share; plain signs where the terminal has no others."""
    eighths = round(share * WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    try:
        _EIGHTHS.encode(encoding)
    except UnicodeEncodeError:
        return ("#" * whole).ljust(WIDTH, ".")
    partial = _EIGHTHS[rest] if rest else ""
    return f"{'█' * whole}{partial}".ljust(WIDTH)
