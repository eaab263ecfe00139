"""Models of a search in folders, whole or not at all, and how far the training of a trial has come."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from safetensors.torch import load_file
from torch import nn

from autoprune.compression.torch import masking, saving
from autoprune.compression.torch.compact.files import load_compact, save_compact

CHECKPOINT = "checkpoint"
KEPT = "kept"
"""Folders in the output of a trial: where its training stands, and its weights at the end."""

WEIGHTS = "model.safetensors"
MASKS = "model.masks.safetensors"
_SCORES = "scores.json"


def is_masked(model: nn.Module) -> bool:
    return any(True for _ in masking.all_masked(model))


def save(model: nn.Module, folder: Path) -> list[str]:
    """Write a masked or a smaller model into a folder; the names of the files."""
    if is_masked(model):
        saving.export(model, folder / WEIGHTS)
        return [WEIGHTS, MASKS]
    save_compact(model, folder / WEIGHTS)
    return [WEIGHTS]


def load(build: Callable[[], nn.Module], folder: Path) -> nn.Module:
    """The model that `save` has written, made from what its class builds."""
    if not (folder / MASKS).exists():
        return load_compact(build, folder / WEIGHTS)
    model = build()
    model.load_state_dict(load_file(folder / WEIGHTS))
    saving.load_masks(model, folder / MASKS)
    return model


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of this one once it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-{getpid()}-") as drafts:
        draft = Path(drafts, "new")
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rename(Path(drafts, "old"))
        draft.rename(folder)


def _clear(folder: Path) -> None:
    """What processes that were killed have left beside it."""
    for drafts in folder.parent.glob(f".{folder.name}-*"):
        process = drafts.name.removeprefix(f".{folder.name}-").partition("-")[0]
        if process.isdecimal() and (int(process) == getpid() or not psutil.pid_exists(int(process))):
            shutil.rmtree(drafts, ignore_errors=True)


@dataclass(frozen=True)
class Checkpoint:
    """What a trial has trained so far, in a folder that all its attempts share."""

    folder: Path

    def scores(self) -> list[dict[str, float]]:
        """How good the model was after each part of the training; empty where there is no checkpoint."""
        file = self.folder / _SCORES
        return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []

    def model(self, build: Callable[[], nn.Module]) -> nn.Module:
        """As it was after the last of these parts."""
        return load(build, self.folder)

    def write(self, model: nn.Module, scores: Sequence[Mapping[str, float]]) -> None:
        with replacing(self.folder) as folder:
            save(model, folder)
            (folder / _SCORES).write_text(json.dumps(scores), encoding="utf-8")

    def drop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
