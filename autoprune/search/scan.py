"""The sensitivity scan: how good the model still is when one group of layers alone is pruned, and nothing is trained.

S. Han et al., "Learning both weights and connections for efficient neural networks", 2015. Where a task offers batches
to calibrate with, BatchNorm statistics are estimated anew, since those of the dense model say more about the shift of
the statistics than about what the group is worth.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from autoprune.compression.command.failing import Failure, said
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch.copying import plain_copy
from autoprune.compression.torch.recalibrating import recalibrate_batchnorm, with_statistics
from autoprune.errors import AutopruneError
from autoprune.lifeline import die_with_parent
from autoprune.protocol import DEFAULT
from autoprune.records import Curve
from autoprune.search.job import Allocation, Job
from autoprune.search.loading import calibration_of, seed_all
from autoprune.search.scaling import Scaler
from autoprune.search.settings import Settings

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
_SEED = 0


@dataclass(frozen=True)
class Point:
    """One group pruned alone: its sparsity, in whole weights or filters, and that of each of its layers."""

    pruner: str
    group: str
    sparsity: float
    layers: Mapping[str, float]

    @property
    def name(self) -> str:
        return f"{self.pruner} {self.group} {self.sparsity!r}"


def points(pruner: str, scaler: Scaler) -> Iterator[Point]:
    """All that are to be measured, by a scaler that has no budget; fewer where a group has few filters."""
    for group in scaler.groups:
        seen = {0.0}
        for wanted in SPARSITIES:
            layers = scaler.scaled({each.name: wanted if each is group else 0.0 for each in scaler.groups})
            sparsity = scaler.of_groups(layers)[group.name]
            if sparsity not in seen:
                seen.add(sparsity)
                yield Point(pruner, group.name, sparsity, layers)


def scan(
    job: Job, wanted: Sequence[Point], known: Sequence[Curve], workers: int, tell: Callable[[str], None]
) -> list[Curve]:
    """A curve for each group: the known ones at the same sparsities, and the others measured, by so many processes."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in wanted:
        groups.setdefault((point.pruner, point.group), []).append(point)
    curves = {(curve.pruner, curve.group): curve for curve in known}
    missing = {
        key: own
        for key, own in groups.items()
        if key not in curves or list(curves[key].sparsities) != [point.sparsity for point in own]
    }
    if groups and not missing:
        tell("takes the sensitivity of the layers from an earlier experiment of this task")
    kept = _Kept.of(job.settings)
    todo = [point for own in missing.values() for point in own if point.name not in kept.values]
    for point, value in zip(todo, _measured(job, todo, workers, tell), strict=True):
        kept.add(point, value)
    for (pruner, group), own in missing.items():
        sparsities = tuple(point.sparsity for point in own)
        curves[pruner, group] = Curve(pruner, group, sparsities, tuple(kept.values[point.name] for point in own))
    return [curves[key] for key in groups]


@dataclass(frozen=True)
class _Kept:
    """What has been measured, a line each in a file of the experiment, so that a scan that was interrupted goes on."""

    file: Path | None
    values: dict[str, float | None]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        if settings.folder is None:
            return cls(None, {})
        file = settings.folder / f"scan-{settings.task.key}.jsonl"
        written = file.read_text(encoding="utf-8") if file.exists() else ""
        whole, _, torn = written.rpartition("\n")
        if torn:
            file.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
        return cls(file, dict(json.loads(line) for line in whole.splitlines()))

    def add(self, point: Point, value: float | None) -> None:
        self.values[point.name] = value
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(f"{json.dumps([point.name, value])}\n")


def _measured(job: Job, todo: Sequence[Point], workers: int, tell: Callable[[str], None]) -> Iterator[float | None]:
    """The values in order, each told as it comes."""
    with _measuring(job, min(workers, len(todo))) as measure:
        for number, (point, outcome) in enumerate(zip(todo, measure(todo), strict=True), 1):
            where = f"{point.pruner} {point.group} at {point.sparsity:.3g}"
            tell(f"scan {number}/{len(todo)}: {where}: {outcome.said or format(outcome.value, '.4g')}")
            yield outcome.value


@dataclass(frozen=True)
class _Outcome:
    """A value, or why there is none."""

    value: float | None
    said: str = ""


class _Bench:
    """A process's own dense model, of which it prunes copies."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._dense = job.dense()
        self._batches = calibration_of(job.task, job.settings.task)

    def measure(self, point: Point) -> _Outcome:
        seed_all(_SEED)
        model = self._job.pruned(plain_copy(self._dense, {}), Allocation(point.pruner, point.layers))
        try:
            if self._batches and with_statistics(model):
                recalibrate_batchnorm(model, self._batches)
            value = self._job.score(model)[DEFAULT]
        except (Failure, CompressionError) as error:
            return _Outcome(None, said(error))
        return _Outcome(value) if math.isfinite(value) else _Outcome(None, f"no number ({value})")


@contextmanager
def _measuring(job: Job, workers: int) -> Iterator[Callable[[Sequence[Point]], Iterable[_Outcome]]]:
    """Something that measures points: this process, or several that share its threads and end with it."""
    if workers < 2:
        yield lambda todo: map(_Bench(job).measure, todo) if todo else ()
        return
    threads = max(1, torch.get_num_threads() // workers)
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _begin, (job.settings, threads, os.getpid())
    )
    try:
        yield lambda todo: pool.map(_measure, todo)
    except BrokenProcessPool:
        raise AutopruneError(
            "a process that measured the sensitivity of layers ended before it had an answer, perhaps for lack of "
            "memory; expected it to go on (with trialConcurrency: 1 there is one, and search.scan: false leaves it out)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_bench: _Bench


def _begin(settings: Settings, threads: int, parent: int) -> None:
    """First thing in a process of the pool."""
    global _bench
    die_with_parent(parent)
    torch.set_num_threads(threads)
    _bench = _Bench(Job.of(settings))


def _measure(point: Point) -> _Outcome:
    return _bench.measure(point)
