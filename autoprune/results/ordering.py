"""How a list of trials is asked for: its order, as a word, and the cursor of a place in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import get_args

from autoprune.errors import UsageError, did_you_mean
from autoprune.results import cursor as cursors
from autoprune.search_space import unescaped
from autoprune.store import listing

METRIC = "metric:"
COLUMNS: tuple[listing.Column, ...] = get_args(listing.Column)
_PATH = r'[^"\x00-\x1f]{1,200}'
PATTERN = f"^-?({'|'.join(COLUMNS)}|{METRIC}{_PATH})$"
"""What a sort looks like, for who describes it."""
_LONGEST_NAME = 64
_TYPES: Mapping[str, Sequence[type]] = {
    "number": [int],
    "value": [float, type(None)],
    "started": [str, type(None)],
    "ended": [str, type(None)],
    "duration": [float, type(None)],
}


def order_of(sort: str) -> listing.Order:
    """The order that a word such as `value` or `-metric:macs` stands for; with a `-`, from the largest down."""
    descending, name = sort.startswith("-"), sort.removeprefix("-")
    for column in COLUMNS:
        if name == column:
            return listing.Order(column, descending)
    if name.startswith(METRIC):
        return listing.Order(_metric(name.removeprefix(METRIC)), descending)
    remedy = did_you_mean(name[:40], [*COLUMNS, f"{METRIC}PATH"])
    raise UsageError(
        f"given the sort {sort[:40]!r}; expected {', '.join(COLUMNS)} or {METRIC}PATH, or -value and so on ({remedy})"
    )


def cursor_of(position: listing.Position, sort: str) -> str:
    return cursors.encode(_list_of(sort), position.value, position.number)


def position_of(cursor: str | None, sort: str, order: listing.Order) -> listing.Position | None:
    """The place in a list of this order."""
    if not cursor:
        return None
    kind = "value" if isinstance(order.by, listing.Metric) else order.by
    value, number = cursors.decode(cursor, _list_of(sort), _TYPES[kind], [int])
    return listing.Position(value, number)


def _list_of(sort: str) -> str:
    """What a cursor calls the list of this order: a long name, such as a metric's may be, is in it as its hash."""
    long = len(sort) > _LONGEST_NAME
    return f"trials {hashlib.sha256(sort.encode(errors='replace')).hexdigest() if long else sort}"


def _metric(path: str) -> listing.Metric:
    if not re.fullmatch(_PATH, path):
        raise UsageError(f'given the metric {path[:40]!r}; expected the path of a number that trials report, without "')
    return listing.Metric(tuple(map(unescaped, path.split("/"))))
