"""Cursors: a place in a list, as a word that means nothing to whoever carries it.

A cursor names the last item shown, not a count of items, so that a list that grows meanwhile repeats and skips
nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence

from autoprune.errors import UsageError
from autoprune.records import JSON

_LONGEST = 1000
_LARGEST = 2**31


def encode(kind: str, *place: JSON) -> str:
    """`kind` says which list in which order, so that a cursor of another is known for what it is."""
    text = json.dumps([kind, *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, kind: str, *expected: Sequence[type]) -> list[JSON]:
    """The place in a cursor of this kind; each part is of one of the types expected of it."""
    place = _parse(cursor)
    if not place or place[0] != kind or len(place) != 1 + len(expected):
        raise _bad(cursor)
    parts = place[1:]
    if not all(_fits(part, types) for part, types in zip(parts, expected, strict=True)):
        raise _bad(cursor)
    return parts


def _parse(cursor: str) -> list[JSON]:
    if len(cursor) > _LONGEST:
        raise _bad(cursor)
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error):
        raise _bad(cursor) from None
    return place if isinstance(place, list) else []


def _fits(part: JSON, types: Sequence[type]) -> bool:
    if type(part) not in types:
        return False
    if isinstance(part, int):
        return 0 <= part < _LARGEST
    if isinstance(part, str):
        return part.isascii()
    return not isinstance(part, float) or math.isfinite(part)


def _bad(cursor: str) -> UsageError:
    shown = cursor if len(cursor) <= 40 else f"{cursor[:37]}..."
    return UsageError(f"given the cursor {shown!r}; expected the `next` of the same list in the same order")
