"""The keys of a quantizer's config_list: which tensors of a layer, and in how many bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoprune.compression.core.config_list import Key, is_integer
from autoprune.errors import Problem

KINDS = ("weight", "input", "output")
MOST_BITS = 32


def quant_keys(*, kinds: Sequence[str] = ("weight",), least_bits: int = 2) -> tuple[Key, ...]:
    """`quant_types`, by default `kinds`, and `quant_bits`, by default 8."""

    def is_bits(value: object) -> bool:
        return is_integer(value) and least_bits <= value <= MOST_BITS  # type: ignore[operator]

    def are_bits(value: object) -> bool:
        if isinstance(value, Mapping):
            return bool(value) and all(kind in KINDS and is_bits(bits) for kind, bits in value.items())
        return is_bits(value)

    number = f"a whole number from {least_bits} to {MOST_BITS}"
    return (
        Key("quant_types", "weight, input, output or a list of these", _are_kinds, tuple(kinds)),
        Key("quant_bits", f"{number}, or a dict of them by quant type", are_bits, 8, ("q_bits",)),
    )


def kinds_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Which tensors of a layer are quantised; none where the entry is wrong about that."""
    given = settings.get("quant_types", ())
    return (given,) if isinstance(given, str) else tuple(given)


def bits_of(settings: Mapping[str, Any], kind: str) -> int:
    given = settings["quant_bits"]
    bits: int = given[kind] if isinstance(given, Mapping) else given
    return bits


def check_bits(where: str, settings: Mapping[str, Any]) -> list[Problem]:
    """A dict of bits has one number for each of `quant_types`, and no other."""
    kinds, bits = kinds_of(settings), settings["quant_bits"]
    if not isinstance(bits, Mapping) or set(bits) == set(kinds):
        return []
    return [Problem(f"{where}.quant_bits", repr(dict(bits)), f"bits for each of quant_types: {', '.join(kinds)}")]


def _are_kinds(value: object) -> bool:
    given = (value,) if isinstance(value, str) else value
    return isinstance(given, Sequence) and bool(given) and all(kind in KINDS for kind in given)
