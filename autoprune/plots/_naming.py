"""What to call parameters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from autoprune.plots._style import labels as cut
from autoprune.search_space import unescaped


def names(paths: Sequence[str]) -> dict[str, str]:
    """What to call parameters: the last parts of their paths, as few as tell each from all others.

    Names are as they were given. Only where a name with a slash reads like a path of several is it put in quotes.
    """
    parts = {path: path.removesuffix("/_name").split("/") for path in paths}
    often = Counter("/".join(each[-count:]) for each in parts.values() for count in range(1, len(each) + 1))
    ends = {path: _shortest(each, often) for path, each in parts.items()}
    alike = Counter(unescaped("/".join(end)) for end in ends.values())
    return {
        path: name if alike[name := unescaped("/".join(end))] == 1 else "/".join(map(_quoted, end))
        for path, end in ends.items()
    }


def labels(paths: Sequence[str]) -> dict[str, str]:
    """The same in a figure."""
    words = names(paths)
    shown = cut(words.values())
    return {path: shown[name] for path, name in words.items()}


def _shortest(parts: Sequence[str], often: Mapping[str, int]) -> Sequence[str]:
    ends = [parts[-count:] for count in range(1, len(parts) + 1)]
    return next((end for end in ends if often["/".join(end)] == 1), ends[-1])


def _quoted(part: str) -> str:
    name = unescaped(part)
    return json.dumps(name, ensure_ascii=False) if "/" in name else name
