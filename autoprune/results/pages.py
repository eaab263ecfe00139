"""Whole lists, or the first so many of their items, out of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from autoprune.results.models import Page
from autoprune.results.reader import MAX_PAGE

T = TypeVar("T")


def whole(
    page: Callable[[int, str | None], Page[T]], *, limit: int | None = None, cursor: str | None = None
) -> Page[T]:
    """One page of all items behind `cursor`, or of the first `limit` of them; `page` takes a limit and a cursor."""
    items: list[T] = []
    while True:
        wanted = MAX_PAGE if limit is None else min(limit - len(items), MAX_PAGE)
        found = page(wanted, cursor)
        items += found.items
        cursor = found.next
        if cursor is None or len(items) == limit:
            return Page(items=items, next=cursor)
