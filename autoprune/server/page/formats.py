"""How values read on the page: numbers, times, durations, parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from autoprune import records
from autoprune.records import JSON
from autoprune.results.export import leaves
from autoprune.search_space import unescaped

NOTHING = "\u2013"
_LONGEST = 90


def figure(value: JSON) -> str:
    """One value in a cell: counts with separators, other numbers to six digits, everything else as JSON or text."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if value.is_integer() and 1e4 <= abs(value) < 1e15 else f"{value:.6g}"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def brief(value: JSON) -> str:
    """The same to four digits, for tables of many columns."""
    return figure(float(f"{value:.4g}") if isinstance(value, float) else value)


def percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.2%}"


def duration(seconds: float | None) -> str:
    """`0.42 s`, `12.5 s`, `3:05`, `1:02:03`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(stamp: str | None) -> str:
    """A time without its fraction, in UTC."""
    return NOTHING if stamp is None else f"{stamp[:10]} {stamp[11:19]}"


def elapsed_since(stamp: str, now: float) -> str:
    return duration(max(0.0, now - records.seconds(stamp)))


def pretty(value: JSON) -> str:
    """JSON over several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def short(parameters: Mapping[str, JSON], limit: int = _LONGEST) -> str:
    """Nested parameters on one line."""
    text = "  ".join(f"{last(path)}={figure(value)}" for path, value in leaves(parameters))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def last(path: str) -> str:
    """The last part of a path, which is its name; a choice is named by what is chosen there."""
    return unescaped(path.removesuffix("/_name").rpartition("/")[2])


def words(name: str) -> str:
    """A state as it reads: EARLY_STOPPED is `early stopped`."""
    return name.replace("_", " ").lower()
