"""The numeric dimensions: what values each has, and how they lie on the unit interval.

NNI's nine numeric types are three distributions, with or without a logarithm and a step `q`. `from_unit` is the
inverse of the cumulative distribution, so sampling is `from_unit(random())`, and a tuner that thinks in the unit
cube needs nothing else. Values are plain Python numbers inside their bounds.

A step follows NNI's rule, clip(round(x / q) * q, low, high): the bounds hold even where they are not multiples of
q. Steps are counted and multiplied in decimal, so three steps of 0.1 are 0.3; other values keep 15 significant
digits, so that they do not carry the last bit of a platform's exp and log.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import TypeAlias, TypeGuard

_MAX = sys.float_info.max
_MAX_EXPONENT = 700.0
_EPSILON = 2.0**-53


def tidy(x: float, low: float, high: float, q: float | None = None) -> float:
    """`x` snapped to its step and inside its bounds, without float dust; every leaf's values pass here."""
    if q is None:
        return min(max(float(f"{x:.15g}"), low), high)
    step = Decimal(repr(q))
    steps = round(Decimal(repr(float(min(max(x, low), high)))) / step)
    return min(max(float(step * steps), low), high)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether this is an int or float that a float can hold; a bool is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX


@dataclass(frozen=True)
class RandInt:
    """A whole number from `low` up to, without, `high`."""

    low: int
    high: int
    log = False
    q = None
    kind = "randint"

    @property
    def expected(self) -> str:
        return f"a whole number from {self.low} to {self.high - 1}"

    def round(self, x: float) -> int:
        """The value nearest to `x`."""
        return min(max(round(x), self.low), self.high - 1)

    def from_unit(self, u: float) -> int:
        """The value at `u` of the distribution, 0 <= u <= 1."""
        return min(self.low + int(u * (self.high - self.low)), self.high - 1)

    def to_unit(self, value: float) -> float:
        """The middle of the part of the unit interval that `from_unit` maps to this value."""
        return (value - self.low + 0.5) / (self.high - self.low)

    def contains(self, value: object) -> bool:
        return is_number(value) and isinstance(value, int) and self.low <= value < self.high

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.high - self.low

    def at(self, index: int) -> int:
        """The values in ascending order, from 0 up to `count`."""
        return self.low + index


@dataclass(frozen=True)
class Uniform:
    """A number from `low` to `high`, uniform or (`log`) uniform in its logarithm, in steps of `q` if given."""

    low: float
    high: float
    log: bool = False
    q: float | None = None

    @property
    def kind(self) -> str:
        return _kind("uniform", self.log, self.q)

    @property
    def expected(self) -> str:
        return f"a {_number(self.q)} from {self.low:g} to {self.high:g}"

    def round(self, x: float) -> float:
        """The value nearest to `x`."""
        return tidy(x, self.low, self.high, self.q)

    def from_unit(self, u: float) -> float:
        """The value at `u` of the distribution, 0 <= u <= 1."""
        if self.log:
            return self.round(math.exp(math.log(self.low) * (1 - u) + math.log(self.high) * u))
        return self.round(self.low * (1 - u) + self.high * u)

    def to_unit(self, value: float) -> float:
        """Where a value lies between the bounds, on the scale that is uniform."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def contains(self, value: object) -> bool:
        return is_number(value) and self.low <= value <= self.high and (self.q is None or value == self.round(value))

    @property
    def steps(self) -> range | None:
        """Which multiples of q there are, where the first and last may be clipped; None without a step."""
        return None if self.q is None else range(round(self.low / self.q), round(self.high / self.q) + 1)

    @property
    def count(self) -> int | None:
        """How many values there are; None without a step."""
        return None if self.steps is None else self.steps.stop - self.steps.start

    def at(self, index: int) -> float:
        """With a step, the values in ascending order, from 0 up to `count`."""
        assert self.steps is not None
        assert self.q is not None
        return self.round(float(Decimal(repr(self.q)) * (self.steps.start + index)))


@dataclass(frozen=True)
class Normal:
    """A normally distributed number, or (`log`) one whose logarithm is, in steps of `q` if given."""

    mu: float
    sigma: float
    log: bool = False
    q: float | None = None

    @property
    def low(self) -> float:
        return 0.0 if self.log else -_MAX

    @property
    def high(self) -> float:
        return _MAX

    @property
    def kind(self) -> str:
        return _kind("normal", self.log, self.q)

    @property
    def expected(self) -> str:
        return f"a {'positive ' if self.log else ''}{_number(self.q)}"

    def round(self, x: float) -> float:
        """The value nearest to `x`."""
        return tidy(x, self.low, self.high, self.q)

    def from_unit(self, u: float) -> float:
        """The value at `u` of the distribution; 0 and 1 are taken as the numbers next to them."""
        x = self._normal.inv_cdf(min(max(u, _EPSILON), 1 - _EPSILON))
        return self.round(math.exp(min(max(x, -_MAX_EXPONENT), _MAX_EXPONENT)) if self.log else x)

    def to_unit(self, value: float) -> float:
        """The share of the distribution that is not above the value."""
        if self.log:
            value = math.log(value) if value > 0 else -_MAX_EXPONENT
        return self._normal.cdf(value)

    def contains(self, value: object) -> bool:
        if not is_number(value) or value < self.low:
            return False
        return value == self.round(value) if self.q is not None else value > 0 or not self.log

    @property
    def count(self) -> None:
        """Infinitely many values, even with a step."""
        return None

    @property
    def _normal(self) -> NormalDist:
        return NormalDist(self.mu, self.sigma)


Leaf: TypeAlias = RandInt | Uniform | Normal
"""A numeric dimension: `kind`, `low`, `high`, `log`, `q`, `round`, `from_unit`, `to_unit`, `contains`, `count`."""


def _kind(base: str, log: bool, q: float | None) -> str:
    return f"{'q' if q is not None else ''}{'log' if log else ''}{base}"


def _number(q: float | None) -> str:
    return "number" if q is None else f"number in steps of {q:g}"
