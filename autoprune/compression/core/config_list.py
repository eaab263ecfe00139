"""config_list: read, checked and normalised in one place, with every mistake in one error.

Three generations of spellings become one `Entry`. Which keys carry a pruner's settings is the pruner's own list
of `Key`s; the selectors are the same for all. `targets` matches entries against the layers of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, TypeAlias

from autoprune.compression.core.errors import remedy
from autoprune.errors import Problem

DEFAULT = "default"

SELECTORS: Mapping[str, tuple[str, ...]] = {
    "op_types": ("op_types", "op_type", "support_type", "support_layer"),
    "op_names": ("op_names", "op_name", "support_op"),
    "op_partial_names": ("op_partial_names", "op_partial_name"),
}
_FLAGS: Mapping[str, bool] = {"exclude": True, "prune": False}


@dataclass(frozen=True)
class Key:
    """A setting of a pruner: its spellings, what it accepts and in which words.

    A key with a `default` may be left out. `instead_of` names the key this one replaces, `with_key` the key
    without which it means nothing.
    """

    name: str
    expected: str
    accepts: Callable[[Any], bool]
    default: Any = None
    spellings: tuple[str, ...] = ()
    instead_of: str | None = None
    with_key: str | None = None
    needed: bool = True

    @property
    def required(self) -> bool:
        return self.needed and self.default is None and self.instead_of is None and self.with_key is None

    def optional(self) -> Key:
        return replace(self, needed=False)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.spellings)


def is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def sparsity_key(
    name: str,
    *,
    default: float | None = None,
    spellings: tuple[str, ...] = (),
    instead_of: str | None = None,
    with_key: str | None = None,
) -> Key:
    return Key(
        name,
        "a number from 0 up to but not 1",
        lambda value: is_number(value) and 0 <= value < 1,
        default,
        spellings,
        instead_of,
        with_key,
    )


def integer_key(name: str, *, least: int, default: int | None = None) -> Key:
    return Key(name, f"a whole number, {least} or more", lambda value: is_integer(value) and value >= least, default)


@dataclass(frozen=True)
class Entry:
    """One entry, normalised. `where` is how an error names it."""

    where: str
    op_types: tuple[str, ...] = ()
    op_names: tuple[str, ...] = ()
    op_partial_names: tuple[str, ...] = ()
    exclude: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def default_only(self) -> bool:
        """Whether the layers are taken from the default types because the entry names no type and no layer."""
        return not self.op_types and not self.op_names


Fill: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def read(given: object, keys: Sequence[Key], fill: Fill | None = None) -> tuple[list[Entry], list[Problem]]:
    """The entries of a config_list, each first completed by `fill`, and everything wrong with them."""
    problems: list[Problem] = []
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        hint = "put the dict in a list" if isinstance(given, Mapping) else ""
        return [], [Problem("config_list", repr(given), "a list of dicts", remedy=hint)]
    if not given:
        return [], [Problem("config_list", "an empty list", "at least one entry")]
    entries = []
    for index, item in enumerate(given):
        where = f"config_list[{index}]"
        if isinstance(item, Mapping):
            entries.append(read_entry(where, fill(item) if fill else item, keys, problems))
        else:
            problems.append(Problem(where, repr(item), "a dict"))
    return entries, problems


def read_entry(
    where: str,
    item: Mapping[Any, Any],
    keys: Sequence[Key],
    problems: list[Problem],
    *,
    selectors: bool = True,
) -> Entry:
    """One entry; what is wrong with it is added to `problems`."""
    spelled = {name: key.name for key in keys for name in key.names}
    if selectors:
        spelled |= {name: target for target, names in SELECTORS.items() for name in names}
        spelled |= {name: name for name in _FLAGS}
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, value in item.items():
        target = spelled.get(name) if isinstance(name, str) else None
        if target is None:
            problems.append(
                Problem(
                    f"{where}.{name}", f"the key {name!r}", "a key that it knows", remedy=remedy(str(name), spelled)
                )
            )
        elif target in values:
            problems.append(Problem(where, f"both {source[target]} and {name}", f"one of them, {target}"))
        else:
            values[target], source[target] = value, name
    exclude = _flag(where, values, problems)
    selected = {name: _names(f"{where}.{source[name]}", values[name], problems) for name in SELECTORS if name in values}
    if exclude and not selected:
        problems.append(Problem(where, "no selector", f"one of {', '.join(SELECTORS)}: which layers to exclude"))
    settings = _settings(where, values, source, keys, problems, complete=not exclude)
    return Entry(where, exclude=exclude, settings=settings, **selected)


def _flag(where: str, values: Mapping[str, Any], problems: list[Problem]) -> bool:
    said = []
    for name, excluding in _FLAGS.items():
        if name not in values:
            continue
        if isinstance(values[name], bool):
            said.append(values[name] is excluding)
        else:
            problems.append(Problem(f"{where}.{name}", repr(values[name]), "true or false"))
    if len(set(said)) > 1:
        problems.append(Problem(where, "exclude and prune that contradict each other", "one of them, exclude"))
    return any(said)


def _names(where: str, value: object, problems: list[Problem]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) and name for name in names):
        problems.append(Problem(where, repr(value), "a name or a list of names"))
        return ()
    return tuple(names)


def _settings(
    where: str,
    values: Mapping[str, Any],
    source: Mapping[str, str],
    keys: Sequence[Key],
    problems: list[Problem],
    *,
    complete: bool,
) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    replaced = {key.instead_of: key.name for key in keys if key.instead_of}
    for key in keys:
        if key.name in values:
            if not key.accepts(values[key.name]):
                problems.append(Problem(f"{where}.{source[key.name]}", repr(values[key.name]), key.expected))
            else:
                settings[key.name] = values[key.name]
            if key.instead_of is not None and key.instead_of in values:
                problems.append(Problem(where, f"both {source[key.instead_of]} and {key.name}", "one of them"))
            if key.with_key is not None and key.with_key not in values:
                problems.append(Problem(where, f"{key.name} alone", f"{key.with_key} beside it, which it caps"))
        elif key.default is not None:
            settings[key.name] = key.default
        elif complete and key.required and replaced.get(key.name) not in values:
            either = f" (or {replaced[key.name]})" if key.name in replaced else ""
            problems.append(Problem(where, f"no {key.name}", f"{key.name}{either}: {key.expected}"))
    return settings


@dataclass(frozen=True)
class Layer:
    """A module of the model as selectors see it.

    `tensor` identifies the weight, so that layers that share one are known; None where there is nothing that
    can be compressed. `types` holds the class name first, then those of its bases. A layer with an `obstacle` must not
    be passed over in silence where an entry selects it.
    """

    name: str
    types: tuple[str, ...]
    default: bool
    tensor: int | None
    size: int = 0
    parameter: str = "weight"
    obstacle: str = ""


@dataclass(frozen=True)
class Target:
    """A layer to compress and the entry that decides how."""

    layer: Layer
    entry: Entry


def targets(entries: Sequence[Entry], layers: Sequence[Layer]) -> tuple[list[Target], list[Problem]]:
    """The layers to prune, in the order of the model: the last entry that matches a layer wins.

    Layers that share a weight are one: an entry that matches any of them decides for all, and the weight goes
    by the first of the names that this entry matched.
    """
    problems: list[Problem] = []
    winner: dict[int, Target] = {}
    blocked: dict[str, Target] = {}
    for entry in entries:
        matched: set[int] = set()
        for layer in _matching(entry, layers, problems):
            if layer.obstacle:
                blocked[layer.name] = Target(layer, entry)
            elif layer.tensor is not None and layer.tensor not in matched:
                matched.add(layer.tensor)
                winner[layer.tensor] = Target(layer, entry)
    order = {layer.name: position for position, layer in enumerate(layers)}
    for name, target in blocked.items():
        if not target.entry.exclude:
            given, expected = f"{name!r}, {target.layer.obstacle}", "a layer with a weight of its own"
            problems.append(Problem(target.entry.where, given, expected, remedy="or exclude it"))
    chosen = [target for target in winner.values() if not target.entry.exclude]
    if entries and not chosen and not problems:
        excluding = ", ".join(sorted({target.entry.where for target in winner.values()}))
        given = f"entries of which {excluding} excludes every layer" if excluding else "only entries that exclude"
        problems.append(Problem("config_list", given, "at least one layer that is not excluded"))
    return sorted(chosen, key=lambda target: order[target.layer.name]), problems


def _matching(entry: Entry, layers: Sequence[Layer], problems: list[Problem]) -> list[Layer]:
    before = len(problems)
    prunes = not entry.exclude
    for name in entry.op_types:
        _check_type(f"{entry.where}.op_types", name, layers, prunes, problems)
    for name in entry.op_names:
        _check_name(f"{entry.where}.op_names", name, layers, prunes, problems)
    for part in entry.op_partial_names:
        _check_part(f"{entry.where}.op_partial_names", part, layers, prunes, problems)
    found = [layer for layer in layers if (layer.tensor is not None or layer.obstacle) and _selects(entry, layer)]
    if prunes and not found and len(problems) == before:
        problems.append(_unmet(entry, layers))
    return found


def _unmet(entry: Entry, layers: Sequence[Layer]) -> Problem:
    """Selectors that no layer meets, though each by itself is met."""
    asked = {name: getattr(entry, name) for name in SELECTORS if getattr(entry, name)}
    given = " and ".join(f"{name} {', '.join(values)}" for name, values in asked.items()) or "no selectors"
    meant = [layer for layer in layers if any(part in layer.name for part in entry.op_partial_names)]
    types = sorted({layer.types[0] for layer in meant if layer.tensor is not None})
    hint = f"op_partial_names alone reaches the default types; name op_types too: {', '.join(types)}"
    remedied = hint if entry.default_only and types else ""
    return Problem(entry.where, given, "at least one layer that meets all of it", remedy=remedied)


def _selects(entry: Entry, layer: Layer) -> bool:
    if entry.op_types and not any(_is_type(layer, name) for name in entry.op_types):
        return False
    if entry.op_names and layer.name not in entry.op_names:
        return False
    if entry.op_partial_names and not any(part in layer.name for part in entry.op_partial_names):
        return False
    return layer.default or not entry.default_only


def _is_type(layer: Layer, name: str) -> bool:
    return layer.default if name == DEFAULT else name in layer.types


def _check_type(where: str, name: str, layers: Sequence[Layer], prunes: bool, problems: list[Problem]) -> None:
    having = [layer for layer in layers if _is_type(layer, name)]
    default = [DEFAULT] if any(layer.default for layer in layers) else []
    if not having:
        valid = [*default, *(layer.types[0] for layer in layers)]
        problems.append(Problem(where, repr(name), "a type that the model has", remedy=remedy(name, valid)))
    elif prunes and all(layer.tensor is None and not layer.obstacle for layer in having):
        valid = [*default, *(layer.types[0] for layer in layers if layer.tensor is not None)]
        problems.append(Problem(where, repr(name), "a type that it applies to", remedy=remedy(name, valid)))


def _check_name(where: str, name: str, layers: Sequence[Layer], prunes: bool, problems: list[Problem]) -> None:
    having = [layer for layer in layers if layer.name == name]
    prunable = [layer.name for layer in layers if layer.tensor is not None]
    if not having:
        valid = prunable if prunes else [layer.name for layer in layers]
        problems.append(Problem(where, repr(name), "the name of a layer", remedy=remedy(name, valid)))
    elif prunes and having[0].tensor is None and not having[0].obstacle:
        given = f"{name!r}, a {having[0].types[0]}"
        problems.append(Problem(where, given, "a layer that it applies to", remedy=remedy(name, prunable)))


def _check_part(where: str, part: str, layers: Sequence[Layer], prunes: bool, problems: list[Problem]) -> None:
    valid = [layer.name for layer in layers if layer.tensor is not None or layer.obstacle or not prunes]
    if not any(part in name for name in valid):
        problems.append(Problem(where, repr(part), "a part of a layer's name", remedy=remedy(part, valid)))
