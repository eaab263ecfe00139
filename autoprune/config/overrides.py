"""`--set key=value`: fields from the command line, over those of the file and before anything is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoprune.config.translate import SPELLINGS, Draft, Found, is_null, translate
from autoprune.document import Entry, Node, Scalar, Table, from_plain, parse, plain
from autoprune.errors import ConfigError, Mark, Problem
from autoprune.registry import fold


def override(draft: Draft, assignments: Sequence[str]) -> None:
    """Puts each assignment over the draft; a value of nothing (`key=`, `key=null`) takes the field away."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        label = f"--set {key}"
        if not equals or not all(key.split(".")):
            draft.problems.append(Problem("", repr(assignment), "key=value", Mark("--set")))
            continue
        try:
            value = from_plain(plain(_value(text, label)), label)
        except ConfigError as error:
            draft.problems.extend(replace(problem, mark=Mark(label)) for problem in error.problems)
            continue
        _assign(draft, key, value, label)


def _assign(draft: Draft, key: str, value: Node, label: str) -> None:
    steps = key.split(".")
    if is_null(value):
        _remove(draft, steps)
    node = value
    for step in reversed(steps):
        node = Table([Entry(step, node, Mark(label))], Mark(label))
    assert isinstance(node, Table)
    change = translate(node)
    draft.problems.extend(change.problems)
    for path, found in change.found.items():
        _put(draft, path, found, _deeper(steps))


def _deeper(steps: Sequence[str]) -> int:
    """How many of a key's steps lead on inside the value of a field (`tuner.classArgs.seed`: one)."""
    for count in range(len(steps), 0, -1):
        if ".".join(map(fold, steps[:count])) in SPELLINGS:
            return len(steps) - count
    return 0


def _put(draft: Draft, path: str, found: Found, depth: int) -> None:
    before = draft.found.get(path)
    if before and depth:
        merged = _merge(before.node, found.node, depth)
        draft.found[path] = Found(before.spelling, merged, before.mark)
    else:
        draft.found[path] = found


def _merge(under: Node, over: Node, depth: int) -> Node:
    """`under` with the value that `over` holds `depth` keys down in its place."""
    if not depth or not isinstance(under, Table) or not isinstance(over, Table):
        return over
    entries = list(under)
    for entry in over:
        same = [index for index, old in enumerate(entries) if old.key == entry.key]
        alike = [index for index, old in enumerate(entries) if fold(old.key) == fold(entry.key)]
        for index in (same or alike)[:1]:
            old = entries[index]
            entries[index] = Entry(old.key, _merge(old.node, entry.node, depth - 1), entry.mark)
        if not same and not alike:
            entries.append(entry)
    return Table(entries, under.mark)


def _remove(draft: Draft, steps: Sequence[str]) -> None:
    folded = ".".join(map(fold, steps))
    for spelling, path in SPELLINGS.items():
        if spelling == folded or spelling.startswith(f"{folded}."):
            draft.found.pop(path, None)


def _value(text: str, label: str) -> Node:
    """A scalar as YAML reads it; a list or table where one is opened; any other text is itself."""
    if text.startswith(("[", "{", '"', "'")):
        node, problems = parse(text, label)
        if problems:
            raise ConfigError(problems)
        return node
    try:
        node = parse(text, label)[0] if text.strip() else Scalar(None, Mark(label))
    except ConfigError:
        return Scalar(text, Mark(label))
    return node if isinstance(node, Scalar) and not isinstance(node.value, str) else Scalar(text, Mark(label))
