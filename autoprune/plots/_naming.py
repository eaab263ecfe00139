"""What to call parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from autoprune.plots._style import label


def names(paths: Sequence[str]) -> dict[str, str]:
    """What to call parameters: the last parts of their paths, as few as tell each from all others."""
    parts = {path: path.removesuffix("/_name").split("/") for path in paths}
    often = Counter("/".join(each[-count:]) for each in parts.values() for count in range(1, len(each) + 1))
    return {path: unescaped(_shortest(each, often)) for path, each in parts.items()}


def _shortest(parts: Sequence[str], often: Mapping[str, int]) -> str:
    ends = ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return next((end for end in ends if often[end] == 1), ends[-1])


def labels(paths: Sequence[str]) -> dict[str, str]:
    """The same in a figure."""
    return {path: label(name) for path, name in names(paths).items()}


def unescaped(path: str) -> str:
    """A path as it was before `leaves` told its slashes from those between its parts."""
    return path.replace("~1", "/").replace("~0", "~")
