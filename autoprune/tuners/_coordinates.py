"""Where the points of a flat space lie, so that a step of one size means about as much everywhere.

A number lies on its unit interval's logit, stretched so that the bounds can be reached; a sparsity that is scaled to a
budget afterwards on the logarithm of its density. Of such densities only the proportions count: a place and the same
with all of them multiplied are one, and no step changes their common scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from autoprune.records import JSON, Parameters
from autoprune.search_space import Choice, Leaf, RandInt, Space
from autoprune.tuners._gaussian_process import Array, Places

LARGEST = 7.0
"""The greatest logit, which stands for the bound."""
LEAST = 1e-9
"""The density of a sparsity of 1."""
_OUTSIDE = 1 / (1 + math.exp(LARGEST))


class Coordinates:
    """A place has a coordinate for each slot: of a number its position, of a choice the index.

    `densities` has the slots that are scaled sparsities, each with the leaf that says what sparsities they are.
    """

    def __init__(self, space: Space, densities: Mapping[str, Leaf]) -> None:
        self._members = space.members
        self._densities = densities
        dimensions = list(space.members.values())
        names = list(space.members)
        self._choices = {
            i: len(dimension.options) for i, dimension in enumerate(dimensions) if isinstance(dimension, Choice)
        }
        self._numbers = [i for i in range(len(names)) if i not in self._choices]
        self._dense = [i for i, name in enumerate(names) if name in densities]
        self._counted = {
            i: np.array([_logit(dimension.to_unit(dimension.at(k))) for k in range(dimension.count)])
            for i, dimension in enumerate(dimensions)
            if isinstance(dimension, RandInt)
        }
        bounds = [self._bounds(name) for name in names]
        self._low, self._high = (np.array(side) for side in zip(*bounds, strict=True))

    def place(self, point: Parameters) -> Array:
        place = np.array([self._coordinate(name, point[name]) for name in self._members])
        levelled: Array = self._levelled(place[None])[0]
        return levelled

    def point(self, place: Array) -> dict[str, JSON]:
        return {name: self._value(name, float(at)) for name, at in zip(self._members, place, strict=True)}

    def compared(self, places: Array) -> Places:
        """The places as a model compares them, with proportions in place of densities."""
        numbers = places.copy()
        if self._dense:
            numbers[:, self._dense] -= numbers[:, self._dense].mean(1, keepdims=True)
        return Places(numbers[:, self._numbers], places[:, list(self._choices)])

    def moved(self, places: Array, steps: Array) -> Array:
        """The places after steps along their numbers, inside the bounds and on whole steps of what is counted."""
        steps = steps.copy()
        steps[:, list(self._choices)] = 0
        moved = np.clip(self._levelled(places + steps), self._low, self._high)
        for i, whole in self._counted.items():
            moved[:, i] = whole[np.abs(moved[:, i, None] - whole).argmin(1)]
        return moved

    def switched(self, places: Array, chance: float, random: np.random.Generator) -> Array:
        """The places, some of them with another option of one choice."""
        open_choices = [i for i, count in self._choices.items() if count > 1]
        switched = places.copy()
        if open_choices:
            for row in np.flatnonzero(random.random(len(places)) < chance):
                i = open_choices[random.integers(len(open_choices))]
                switched[row, i] = (switched[row, i] + random.integers(1, self._choices[i])) % self._choices[i]
        return switched

    def _levelled(self, places: Array) -> Array:
        """The places with their densities multiplied so that one is as great as it can be, and none greater."""
        if self._dense:
            places = places.copy()
            places[:, self._dense] -= (places - self._high)[:, self._dense].max(1, keepdims=True)
        return places

    def _bounds(self, name: str) -> tuple[float, float]:
        dimension = self._members[name]
        if isinstance(dimension, Choice):
            return 0.0, len(dimension.options) - 1.0
        if name not in self._densities:
            return -LARGEST, LARGEST
        leaf = self._densities[name]
        return _log_density(leaf.high), _log_density(leaf.low)

    def _coordinate(self, name: str, value: float) -> float:
        dimension = self._members[name]
        if isinstance(dimension, Choice):
            return float(value)
        if name in self._densities:
            return _log_density(self._densities[name].from_unit(value))
        return _logit(dimension.to_unit(value))

    def _value(self, name: str, coordinate: float) -> float:
        dimension = self._members[name]
        if isinstance(dimension, Choice):
            return int(coordinate)
        if name in self._densities:
            return dimension.round(self._densities[name].to_unit(-math.expm1(coordinate)))
        return dimension.from_unit(_unit(coordinate))


def _log_density(sparsity: float) -> float:
    return math.log(max(1 - sparsity, LEAST))


def _logit(unit: float) -> float:
    share = _OUTSIDE + unit * (1 - 2 * _OUTSIDE)
    return math.log(share / (1 - share))


def _unit(logit: float) -> float:
    share = (1 / (1 + math.exp(-logit)) - _OUTSIDE) / (1 - 2 * _OUTSIDE)
    return min(max(share, 0.0), 1.0)
