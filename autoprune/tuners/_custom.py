"""Tuners that users bring by `className`: NNI-style classes, subclasses of `Tuner`, and Optuna's samplers."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from pydantic import ValidationError

from autoprune.errors import UsageError, did_you_mean
from autoprune.records import JSON, OptimizeMode
from autoprune.search_space import Space
from autoprune.tuners._flat import check_space, make_tuner
from autoprune.tuners._nni import NNITuner
from autoprune.tuners._sampler import SamplerTuner
from autoprune.tuners.base import Tuner, TunerArgs

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_KINDS = "a class with generate_parameters (as NNI's), a subclass of autoprune.tuners.Tuner, or an Optuna sampler"


def load_custom(
    class_name: str,
    code_directory: Path | None,
    class_args: Mapping[str, JSON],
    space: Space,
    search_space_plain: JSON,
    optimize_mode: OptimizeMode,
    seed: int,
) -> Tuner:
    """The tuner of a user's class. Everything wrong with the class or its arguments is a `UsageError`."""
    cls = load_class(class_name, code_directory)
    own = {key: value for key, value in class_args.items() if key not in TunerArgs.model_fields}
    args = TunerArgs(optimize_mode=optimize_mode, seed=seed)
    if issubclass(cls, Tuner):
        return _subclass(cls, class_name, space, {**own, "optimize_mode": optimize_mode, "seed": seed}, seed)
    given = {"optimize_mode": str(optimize_mode), "seed": seed}
    check_signature(cls, class_name, own, provided=tuple(given))
    try:
        if _is_sampler(cls):
            return SamplerTuner(space, args, seed, cls, own)
        if callable(getattr(cls, "generate_parameters", None)):
            named = inspect.signature(cls).parameters
            asked = class_args if _takes_any(cls) else {}
            own |= {key: value for key, value in given.items() if key in named or key in asked}
            return NNITuner(space, args, seed, lambda: cls(**own), search_space_plain)
    except Exception as error:
        raise UsageError(f"className {class_name} cannot be made with {own}: {_cause(error)}") from error
    raise UsageError(f"className {class_name} is no tuner; expected {_KINDS}")


def load_class(class_name: str, code_directory: Path | None) -> type:
    """The class of a dotted name, its module looked for in `code_directory` first."""
    module_name, _, name = class_name.rpartition(".")
    if not module_name:
        raise UsageError(f"className {class_name!r} names no module; expected module.Class, for a file module.py")
    if code_directory is not None:
        _make_importable(module_name.split(".")[0], code_directory.resolve())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        where = f" (codeDirectory {code_directory})" if code_directory else ""
        raise UsageError(f"className {class_name}: {module_name} cannot be imported{where}: {_cause(error)}") from error
    cls = getattr(module, name, None)
    if not inspect.isclass(cls):
        names = [key for key, value in vars(module).items() if inspect.isclass(value)]
        hint = f" ({did_you_mean(name, names)})" if names else ""
        raise UsageError(f"className {class_name}: {module_name} has no class {name}{hint}")
    return cls


def check_signature(cls: type, class_name: str, given: Mapping[str, JSON], provided: tuple[str, ...] = ()) -> None:
    """Raises a `UsageError` for classArgs that the constructor does not take, or lacks; `provided` are given for it."""
    takes = {
        name: parameter
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_POSITIONAL
    }
    named = [name for name, parameter in takes.items() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    expected = f"expected {', '.join(named)}" if named else "expected none"
    for name in given:
        if name not in named and not _takes_any(cls):
            hint = f" ({did_you_mean(name, named)})" if named else ""
            raise UsageError(f"classArgs of {class_name}: given {name}, which it does not take; {expected}{hint}")
    for name in named:
        if takes[name].default is inspect.Parameter.empty and name not in given and name not in provided:
            raise UsageError(f"classArgs of {class_name}: {name} is missing; {expected}")


def _subclass(cls: type[Tuner], class_name: str, space: Space, class_args: Mapping[str, JSON], seed: int) -> Tuner:
    try:
        args = cls.Args.model_validate(class_args)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}, given {item['input']!r}" for item in error.errors()
        ]
        raise UsageError(f"classArgs of {class_name}: {'; '.join(problems)}") from None
    reason = check_space(cls, space, args)
    if reason:
        raise UsageError(f"{class_name} cannot search this space: {reason}")
    return make_tuner(cls, space, args, seed)


def _takes_any(cls: type) -> bool:
    """Whether the constructor takes arguments of any name."""
    parameters = inspect.signature(cls).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _is_sampler(cls: type) -> TypeGuard[type[BaseSampler]]:
    """Whether this is an Optuna sampler; Optuna itself is not imported to find out."""
    optuna = sys.modules.get("optuna")
    return optuna is not None and issubclass(cls, optuna.samplers.BaseSampler)


def _make_importable(module: str, folder: Path) -> None:
    """Puts a folder first on the path, and forgets a module of the same name that came from elsewhere."""
    here = (folder / module).is_dir() or any(folder.glob(f"{module}.*"))
    if here and module in sys.stdlib_module_names:
        raise UsageError(f"className: a module cannot be called {module}, which is Python's own; rename {module}.py")
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    present = sys.modules.get(module)
    if here and present is not None and not Path(getattr(present, "__file__", None) or "").is_relative_to(folder):
        for name in [name for name in sys.modules if name.split(".")[0] == module]:
            del sys.modules[name]


def _cause(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "nni":
        return "it imports nni, which is not installed; a tuner needs no base class here, so leave the import out"
    return f"{type(error).__name__}: {error}"
