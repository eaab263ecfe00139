"""Where the values of a parameter lie on an axis."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.plots._data import number
from autoprune.plots._style import labels
from autoprune.records import JSON

_DECADES = 2
"""From how many powers of ten on an axis is logarithmic."""


@dataclass(frozen=True)
class Scale:
    """Where the values of a parameter lie: on a line, in powers of ten, or one category beside the other."""

    categories: Mapping[str, int]
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, values: Sequence[JSON]) -> Scale:
        given = [value for value in values if value is not None]
        numbers = [found for value in given if (found := number(value)) is not None]
        if len(numbers) < len(given) or not numbers:
            names = {name: place for place, name in enumerate(sorted({_text(value) for value in given}))}
            return cls(names, 0.0, max(len(names) - 1.0, 0.0), False)
        low, high = min(numbers), max(numbers)
        return cls({}, low, high, low > 0 and math.log10(high) - math.log10(low) >= _DECADES)

    def place(self, value: JSON) -> float | None:
        """On the axis: the number itself, or that of its category."""
        if value is None:
            return None
        return float(self.categories[_text(value)]) if self.categories else number(value)

    def share(self, place: float) -> float:
        """How far up the axis this place is, from 0 to 1."""
        low, here, high = (math.log10(each) if self.logarithmic else each / 2 for each in (self.low, place, self.high))
        return (here - low) / (high - low) if high > low else 0.5

    def ticks(self) -> dict[float, str]:
        """Its ends, or its categories, and where they are."""
        if self.categories:
            words = labels(self.categories, 16)
            return {float(place): words[name] for name, place in self.categories.items()}
        return {self.low: f"{self.low:.4g}", self.high: f"{self.high:.4g}"}


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
