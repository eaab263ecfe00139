"""The tuner and the assessor a file names: found in their registries, their arguments checked by their own models."""

from __future__ import annotations

import contextlib
import importlib.machinery
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from autoprune.assessors import Assessor, assessors
from autoprune.config.model import DEFAULT_TUNER, DEFAULT_TUNER_OF_TASKS
from autoprune.config.nni import TUNERS
from autoprune.config.problems import Location, problems_of, walk
from autoprune.config.translate import Draft, Found, join_class_file
from autoprune.config.values import nearest_file, resolve
from autoprune.document import Entry, Node, Scalar, Table, plain
from autoprune.errors import Mark, NotFoundError, Problem, did_you_mean
from autoprune.records import OptimizeMode
from autoprune.registry import Registry, T, fold
from autoprune.search_space import Space
from autoprune.tuners import Tuner, TunerArgs, check_space, tuners

MODE = "optimize_mode"
_OWN = "tuner.className"


def check_tuner(draft: Draft, space: Space | None, base: Path) -> None:
    """The tuner's fields made canonical; without a name TPE, or auto for a task. Without a space, `Tuner.check`
    waits for one."""
    join_class_file(draft)
    if _OWN in draft.found:
        _check_own(draft, base)
        return
    default = DEFAULT_TUNER_OF_TASKS if "task" in draft.found else DEFAULT_TUNER
    _set(draft, "tuner.name", Scalar(default, draft.mark))
    if "tuner.codeDirectory" in draft.found:
        draft.complain("tuner.codeDirectory", "className beside it", "a tuner with a name needs no folder")
    plugin = _plugin(draft, "tuner", tuners, TUNERS)
    args = _check_args(draft, "tuner", plugin.name, plugin.Args) if plugin else None
    if plugin and space and isinstance(args, TunerArgs):
        _check_space(draft, plugin, space, args)


def check_assessor(draft: Draft) -> None:
    """The assessor's fields made canonical; its optimize_mode is the tuner's unless it has its own."""
    if "assessor.name" not in draft.found:
        if "assessor.classArgs" in draft.found:
            draft.complain("assessor.name", f"one of {', '.join(assessors.names())}")
        return
    plugin: type[Assessor] | None = _plugin(draft, "assessor", assessors, {})
    if plugin:
        mode = _tuner_mode(draft)
        if mode and MODE in plugin.Args.model_fields:
            args = _args(draft, "assessor")
            names = [fold(entry.key) for entry in args]
            if fold(MODE) not in names:
                entry = Entry(MODE, mode, mode.mark)
                _set(draft, "assessor.classArgs", Table([*args, entry], args.mark), replace=True)
        _check_args(draft, "assessor", plugin.name, plugin.Args)


def _plugin(draft: Draft, section: str, registry: Registry[T], gone: Mapping[str, str]) -> type[T] | None:
    """The plug-in a section names, under its own spelling; a problem where there is none."""
    path = f"{section}.name"
    node = draft.found[path].node
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return None
    plugin = _named_so(registry, node.value) or _named_so(registry, fold(node.value).removesuffix(section))
    if plugin is None:
        names = registry.names()
        remedy = gone.get(fold(node.value)) or did_you_mean(node.value, names)
        nearest = "" if remedy.startswith("valid:") else remedy
        draft.complain(path, f"a known {section}" if nearest else f"one of {', '.join(names)}", nearest)
        return None
    _set(draft, path, Scalar(plugin.__dict__["name"], node.mark), replace=True)
    return plugin


def _named_so(registry: Registry[T], name: str) -> type[T] | None:
    """NNI ends some names with the word for what they name, as in GPTuner, so this is asked with and without it."""
    with contextlib.suppress(NotFoundError):
        return registry.get(name)
    return None


def _check_args(draft: Draft, section: str, owner: str, model: type[BaseModel]) -> BaseModel | None:
    """The arguments as the plug-in's model, and in the draft under the model's names."""
    path = f"{section}.classArgs"
    if path in draft.found and not isinstance(draft.found[path].node, Table):
        return None
    table = _named(draft, section, _args(draft, section), owner, list(model.model_fields))
    _set(draft, path, table, replace=True)
    try:
        return model.model_validate(plain(table))
    except ValidationError as error:

        def locate(location: Location) -> tuple[Node | None, Mark]:
            return walk(table, location)

        draft.problems.extend(problems_of(error, model, locate, path))
        return None


def _named(draft: Draft, section: str, args: Table, owner: str, names: Sequence[str]) -> Table:
    """The arguments under the model's own names; those it does not have are problems and left out."""
    known = {fold(name): name for name in names}
    entries: dict[str, Entry] = {}
    for entry in args:
        path = f"{section}.classArgs.{entry.key}"
        name = known.get(fold(entry.key))
        if name is None:
            remedy = did_you_mean(entry.key, names)
            problem = Problem(path, "an unknown argument", f"an argument of {owner}", entry.mark, remedy)
            draft.problems.append(problem)
        elif name in entries:
            given = f"{entries[name].key} and {entry.key}, which mean the same"
            first = entries[name].mark.line
            remedy = f"keep one; the first is on line {first}" if first else "keep one"
            draft.problems.append(Problem(path, given, f"{name} once", entry.mark, remedy))
        else:
            entries[name] = entry
    return Table([Entry(name, entry.node, entry.mark) for name, entry in entries.items()], args.mark)


def _check_space(draft: Draft, plugin: type[Tuner], space: Space, args: TunerArgs) -> None:
    reason = check_space(plugin, space, args)
    if reason:
        draft.complain("tuner.name", "a tuner that can search this space", reason)


def _check_own(draft: Draft, base: Path) -> None:
    """A class outside the registry: its place is checked here, its arguments by the class itself."""
    if "tuner.name" in draft.found:
        draft.complain(_OWN, "one of name and className", "keep one of the two")
        del draft.found["tuner.name"]
    node = draft.found[_OWN].node
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str):
        if "." not in value or not all(step.isidentifier() for step in value.split(".")):
            draft.complain(_OWN, "module.Class", "the file's name without .py, a dot, and the class")
        else:
            _check_module(draft, value.split(".")[0], base)
    table = _args(draft, "tuner")
    shared = Table([entry for entry in table if entry.key in TunerArgs.model_fields], table.mark)
    try:
        TunerArgs.model_validate(plain(shared))
    except ValidationError as error:
        found = problems_of(error, TunerArgs, lambda location: walk(shared, location), "tuner.classArgs")
        draft.problems.extend(found)


def _check_module(draft: Draft, module: str, base: Path) -> None:
    """With a `codeDirectory`, the module must be in it."""
    given = draft.found.get("tuner.codeDirectory")
    if given is None or not isinstance(given.node, Scalar) or not isinstance(given.node.value, str):
        return
    folder = resolve(Path(given.node.value), base)
    endings = [".py", *importlib.machinery.EXTENSION_SUFFIXES]
    present = (folder / module).is_dir() or any((folder / f"{module}{ending}").is_file() for ending in endings)
    if folder.is_dir() and not present:
        draft.complain(_OWN, f"{module}.py in codeDirectory", nearest_file(folder / f"{module}.py"))


def _args(draft: Draft, section: str) -> Table:
    """The section's arguments; an empty table where there are none, or something else instead."""
    found = draft.found.get(f"{section}.classArgs")
    return found.node if found and isinstance(found.node, Table) else Table([], draft.at(f"{section}.name"))


def _tuner_mode(draft: Draft) -> Scalar | None:
    node = _args(draft, "tuner").get(MODE)
    return node if isinstance(node, Scalar) and node.value in list(OptimizeMode) else None


def _set(draft: Draft, path: str, node: Node, *, replace: bool = False) -> None:
    before = draft.found.get(path)
    if before is None:
        draft.found[path] = Found(path, node, node.mark)
    elif replace:
        draft.found[path] = Found(before.spelling, node, before.mark)
