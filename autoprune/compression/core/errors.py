"""The errors of the compression library.

They are also `ValueError`s, because people who use the library without the rest of autoprune expect those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autoprune.errors import ConfigError, UsageError, nearest

_SHOWN = 8


class CompressionError(UsageError, ValueError):
    """A call that cannot be done as asked."""


class ConfigListError(ConfigError, CompressionError):
    """Everything wrong with one config_list."""


def remedy(name: str, valid: Iterable[str]) -> str:
    """The nearest valid name, or the first few where none is near: a model has hundreds of layers."""
    candidates: Sequence[str] = list(dict.fromkeys(valid))
    close = nearest(name, candidates)
    if close is not None:
        return f"did you mean {close}?"
    more = f", and {len(candidates) - _SHOWN} more" if len(candidates) > _SHOWN else ""
    return f"valid: {', '.join(candidates[:_SHOWN])}{more}" if candidates else "there is none"


def shown(value: object, most: int = 60) -> str:
    """A value as messages show it: itself where that is short, else its type."""
    text = repr(value)
    return text if len(text) <= most and "\n" not in text else f"a {type(value).__name__}"
