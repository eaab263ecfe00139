"""The dense model of a task: built, and given the weights that `prepare` made once for all of its experiments."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_model, save_model
from torch import nn

from autoprune.compression.command import subject
from autoprune.compression.command.failing import said
from autoprune.errors import UsageError
from autoprune.search import training
from autoprune.search.loading import Source, build, offers
from autoprune.search.task import Task

_SEED = 0


def weights_file(folder: Path, source: Source) -> Path:
    """Where the weights of a task are kept."""
    return folder / f"{source.key}.safetensors"


def prepare(task: Task, source: Source, folder: Path, tell: Callable[[str], None]) -> None:
    """Make the weights, unless they are there. Of several that want them at once, one makes them, and the others wait.

    A file of weights is whole: it gets its name when all is written.
    """
    file = weights_file(folder, source)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(file.with_suffix(".lock"), lambda: tell("waits for another process that prepares this model")):
        if file.exists():
            tell(f"takes the prepared weights from {file}")
            return
        model = build(task, source, _SEED)
        if offers(task, "prepare"):
            tell("prepares the model (once; the weights are kept)")
            training.prepare(task, source, model, _SEED)
        save_weights(model, file, source)


def dense(task: Task, source: Source, folder: Path, tell: Callable[[str], None] = subject.tell) -> nn.Module:
    """The model with its prepared weights, which are made where they are gone."""
    file = weights_file(folder, source)
    if not file.exists():
        prepare(task, source, folder, tell)
    model = build(task, source, _SEED)
    try:
        load_model(model, str(file))
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"{source.called}: build makes a model that does not fit the weights that prepare gave it ({said(error)}); "
            f"expected the same layers at every call (to prepare anew, delete {file})"
        ) from None
    return model


def save_weights(model: nn.Module, file: Path, source: Source) -> None:
    """Write the weights of a model."""
    try:
        with writing(file) as partial:
            save_model(model, str(partial))
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{source.called}: the model's weights can not be written ({said(error)}); expected a state_dict of tensors"
        ) from None


@contextmanager
def writing(file: Path) -> Iterator[Path]:
    """Another name to write to first, so that the file is whole; what a process left half written is written over."""
    partial = file.with_suffix(".partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def alone(file: Path, wait: Callable[[], None]) -> Iterator[None]:
    """While inside, no other process is; the system lets go of a lock whose process ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
