"""A user's task: found in its file, checked, with its calls seeded and its mistakes named."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from autoprune.compression.command.failing import users_code
from autoprune.compression.command.loading import imported
from autoprune.compression.command.subject import check_runs, on_device_of
from autoprune.compression.core.errors import shown
from autoprune.compression.torch.nested import tensors
from autoprune.errors import UsageError, did_you_mean, nearest
from autoprune.latency import REPORTED, REPORTED_SHARE
from autoprune.protocol import DEFAULT
from autoprune.records import JSON
from autoprune.search.task import Score, Task
from autoprune.standings import SAME_AS
from autoprune.taskfile import task_key

_CALLS: Mapping[str, tuple[str, ...]] = {
    "build": (),
    "prepare": ("model",),
    "train": ("model", "epochs"),
    "evaluate": ("model",),
    "test": ("model",),
    "example_input": (),
    "calibration_batches": (),
    "loss": ("outputs", "target"),
}
"""How each method is called."""
RESERVED = ("parameters", "macs", "bytes", "sparsity", "layers", REPORTED, REPORTED_SHARE, SAME_AS)
"""What a trial reports of its model beside what `evaluate` says."""


@dataclass(frozen=True)
class Source:
    """A class in a file, and the arguments to make an object of it."""

    file: str
    name: str
    arguments: Mapping[str, JSON] = field(default_factory=dict)

    @classmethod
    def of(cls, called: str, arguments: Mapping[str, JSON]) -> Source:
        """From `task.py:Task`."""
        file, _, name = called.rpartition(":")
        return cls(file, name, arguments)

    @property
    def called(self) -> str:
        return f"{Path(self.file).name}:{self.name}"

    @cached_property
    def key(self) -> str:
        """What the task says, in short, when it is first asked: it changes with the file and with the arguments."""
        return task_key(f"{self.file}:{self.name}", self.arguments)


def load_task(source: Source) -> Task:
    """The user's task: an object of a subclass of `Task` that has every method that it must have."""
    kind = _class_of(imported(Path(source.file)), source)
    _check_methods(kind, source.called)
    _check_arguments(kind, source)
    with users_code(source.called):
        task: Task = kind(**source.arguments)
    return task


def _class_of(module: ModuleType, source: Source) -> type[Task]:
    found = getattr(module, source.name, None)
    if inspect.isclass(found) and issubclass(found, Task) and found is not Task:
        return found
    tasks = [
        name for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Task) and value is not Task
    ]  # fmt: skip
    given = "nothing of this name" if found is None else shown(found)
    hint = did_you_mean(source.name, tasks) if tasks else f"the file has none: class {source.name}(autoprune.Task): ..."
    raise UsageError(f"{source.called}: given {given}; expected a subclass of autoprune.Task ({hint})")


def _check_methods(kind: type[Task], called: str) -> None:
    """What is missing, perhaps as it is misspelled, and what cannot be called as it is going to be."""
    missing = [name for name in _CALLS if name in kind.__abstractmethods__]
    own = [name for name in vars(kind) if name not in dir(Task)]
    if missing:
        near = [(name, nearest(name, own)) for name in missing]
        hint = "; ".join(f"{close} should be called {name}" for name, close in near if close is not None)
        every = ", ".join(sorted(Task.__abstractmethods__))
        raise UsageError(
            f"{called}: given a task without {', '.join(missing)}; expected one that has {every}"
            + (f" ({hint})" if hint else "")
        )
    for name, arguments in _CALLS.items():
        method = getattr(kind, name)
        expected = f"def {name}({', '.join(('self', *arguments))})"
        if not callable(method):
            raise UsageError(f"{called}: given {name} = {shown(method)}; expected a method, {expected}")
        try:
            inspect.signature(method).bind("self", *arguments)
        except TypeError as error:
            raise UsageError(f"{called}: given a method {name} that {error}; expected {expected}") from None


def _check_arguments(kind: type[Task], source: Source) -> None:
    signature = inspect.signature(kind)
    try:
        signature.bind(**source.arguments)
    except TypeError as error:
        accepted = list(signature.parameters)
        unknown = [name for name in source.arguments if name not in accepted]
        hint = did_you_mean(unknown[0], accepted) if unknown and accepted else f"it is {source.name}{signature}"
        raise UsageError(
            f"{source.called}: given the arguments {dict(source.arguments)!r}: {error}; "
            f"expected those of its __init__ ({hint})"
        ) from None


def offers(task: Task, method: str) -> bool:
    """Whether the task has an optional method of its own."""
    return getattr(type(task), method) is not getattr(Task, method)


@contextmanager
def calling(source: Source, method: str, seed: int) -> Iterator[None]:
    """A call of the user's code, seeded."""
    seed_all(seed)
    with users_code(f"{source.called}: {method}"):
        yield


def seed_all(seed: int) -> None:
    """Whatever draws random numbers."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build(task: Task, source: Source, seed: int = 0) -> nn.Module:
    """The model as its class builds it, with parameters that have values."""
    with calling(source, "build", seed):
        model = task.build()
    if not isinstance(model, nn.Module):
        raise UsageError(f"{source.called}: build returns {shown(model)}; expected a torch.nn.Module")
    named = [*model.named_parameters(), *model.named_buffers()]
    empty = [name for name, each in named if is_lazy(each) or each.is_meta]
    if empty:
        raise UsageError(
            f"{source.called}: build returns a model whose {', '.join(empty[:3])}{', ...' if empty[3:] else ''} "
            "have no values yet; expected all to have some (call a lazy model once on an input before you return it)"
        )
    return model


def example_of(task: Task, source: Source, model: nn.Module, seed: int = 0) -> Any:
    """The example input, which the model takes."""
    with calling(source, "example_input", seed):
        example = task.example_input()
    if not isinstance(example, Tensor | tuple | list | Mapping) or next(tensors(example), None) is None:
        expected = "a tensor, a tuple of arguments, or a dict of keyword arguments"
        raise UsageError(f"{source.called}: example_input returns {shown(example)}; expected {expected}")
    example = on_device_of(model, example)
    check_runs(f"the model of {source.called}", model, example)
    return example


def calibration_of(task: Task, source: Source, seed: int = 0) -> list[Any]:
    """Its calibration batches; none where the task does not offer them."""
    if not offers(task, "calibration_batches"):
        return []
    with calling(source, "calibration_batches", seed):
        given = task.calibration_batches()
        if not isinstance(given, Iterable) or isinstance(given, Tensor | Mapping | str):
            raise UsageError(
                f"{source.called}: calibration_batches returns {shown(given)}; expected batches, such as a list"
            )
        batches = list(given)
    wrong = [batch for batch in batches if next(tensors(batch), None) is None]
    if wrong or not batches:
        said = f"a batch that is {shown(wrong[0])}" if wrong else "no batch"
        expected = "batches of inputs, or of pairs (inputs, target)"
        raise UsageError(f"{source.called}: calibration_batches gives {said}; expected {expected}")
    return batches


def in_pairs(batches: Sequence[Any]) -> bool:
    """Whether each batch has its target."""
    return bool(batches) and all(isinstance(batch, tuple | list) and len(batch) == 2 for batch in batches)


def evaluate(task: Task, source: Source, model: nn.Module, method: str = "evaluate", seed: int = 0) -> dict[str, float]:
    """What `evaluate`, or `test`, says, as a dict with `default`. A number may be NaN."""
    with calling(source, method, seed):
        score: Score = getattr(task, method)(model)
    given = score if isinstance(score, Mapping) else {DEFAULT: score}
    values = {str(name): _plain(value) for name, value in given.items()}
    wrong = next((name for name, value in values.items() if not _is_real(value)), None)
    if wrong is not None or DEFAULT not in values:
        nameless = "" if DEFAULT in values else f" without {DEFAULT!r}"
        raise UsageError(
            f"{source.called}: {method} returns {shown(score)}{nameless}; expected a number, or a dict of numbers "
            f"with {DEFAULT!r}"
        )
    taken = [name for name in RESERVED if name in values and method == "evaluate"]
    if taken:
        raise UsageError(
            f"{source.called}: {method} returns a dict with {', '.join(map(repr, taken))}, which every trial reports "
            f"of its model by itself; expected other names than {', '.join(RESERVED)}"
        )
    return values


def finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Without numbers that JSON does not have: what is not finite is None."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def _plain(value: Any) -> Any:
    """A tensor or array of one number as this number."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", ()) in ((), (1,)) else value


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
