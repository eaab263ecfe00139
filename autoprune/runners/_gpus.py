"""The GPUs of this machine, and which of them a trial gets.

A trial is told its GPUs by CUDA_VISIBLE_DEVICES, as UUIDs, since CUDA numbers devices its own way. An instance of a
partitioned GPU (MIG) is a device like any other, only that CUDA cannot use two of them together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import pynvml

from autoprune.errors import AutopruneError
from autoprune.protocol import GPUS_VARIABLE
from autoprune.runners.base import Options

_READING_SECONDS = 1.0
"""For how long what the driver says about other programs is taken for true."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gpu:
    """A device by the driver's index and its UUID; the instances of a partitioned GPU share its index."""

    index: int
    uuid: str

    @property
    def whole(self) -> bool:
        return not self.uuid.startswith("MIG-")


def visible(gpus: Sequence[Gpu], setting: str | None) -> tuple[Gpu, ...]:
    """The GPUs that a CUDA_VISIBLE_DEVICES leaves: indices or beginnings of UUIDs, up to the first that names none."""
    if setting is None:
        return tuple(gpus)
    named: set[Gpu] = set()
    for word in map(str.strip, setting.split(",")):
        found = {gpu for gpu in gpus if word and (word == str(gpu.index) or gpu.uuid.startswith(word))}
        if not found:
            break
        named |= found
    return tuple(gpu for gpu in gpus if gpu in named)


def room(free: Sequence[int], count: int) -> int:
    """How many trials fit into so many free places on each GPU, where each takes one place on `count` GPUs.

    `n` trials fit exactly if the GPUs, each counted for at most `n` places, have `n * count` places.
    """
    trials = sum(free) // count
    while sum(min(places, trials) for places in free) < trials * count:
        trials -= 1
    return trials


def place(gpus: Sequence[Gpu], held: Mapping[Gpu, int], trials_per_gpu: int, count: int) -> tuple[Gpu, ...]:
    """The GPUs of one more trial, those with the fewest trials first. Raises AutopruneError where they do not do."""
    free = sorted((gpu for gpu in gpus if held.get(gpu, 0) < trials_per_gpu), key=lambda gpu: held.get(gpu, 0))
    if len(free) < count:
        raise AutopruneError(f"a trial needs {count} GPUs, and {len(free)} are free")
    return tuple(free[:count])


class Gpus:
    """The GPUs that the trials of one experiment may use. `held` says how many of them run on each."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._driver = Driver()
        self._there: tuple[Gpu, ...] | None = None
        self._busy: frozenset[Gpu] = frozenset()
        self._read_at = float("-inf")
        self._waiting_said = False

    def check(self, count: int) -> str | None:
        """Why a trial cannot have so many GPUs, in a sentence; None when it can."""
        if not count:
            return None
        there, setting = self._all(), os.environ.get(GPUS_VARIABLE)
        left = _listed(visible(there, setting))
        limit = f", of which {GPUS_VARIABLE}={setting} leaves {left}" if setting is not None else ""
        missing = set(self._options.gpu_indices or ()) - {gpu.index for gpu in visible(there, setting)}
        if there and missing:
            named = " and ".join(map(str, sorted(missing)))
            return f"gpuIndices names GPU {named}, and this machine has {_listed(there)}{limit}"
        usable = self._usable(count)
        if count <= len(usable):
            return None
        if self._options.gpu_indices is not None and there:
            limit += f", and gpuIndices allows {_listed(self._usable(1))}"
        if len(usable) < len(self._usable(1)):
            limit += "; CUDA cannot use two MIG instances together"
        machine = f"{len(there) or 'no'} GPU{'s' if len(there) > 1 else ''}"
        return f"trialGpuNumber is {count}, and this machine has {machine}{limit if there else ''}"

    def room(self, count: int, held: Mapping[Gpu, int], ours: Callable[[int], bool]) -> int:
        """How many more trials with so many GPUs may start; `ours` knows the processes of those that run."""
        usable = self._usable(count)
        fitting = self._room(count, usable, held)
        if not fitting or self._options.use_active_gpu:
            return fitting
        if time.monotonic() >= self._read_at + _READING_SECONDS:
            self._busy = frozenset(gpu for gpu in usable if self._is_busy(gpu, bool(held.get(gpu)), ours))
            self._read_at = time.monotonic()
        fitting = self._room(count, self._idle(usable), held)
        if not fitting and not self._waiting_said:
            self._waiting_said = True
            log.warning(
                "trials wait for %s, on which other programs run; useActiveGpu: true would not wait",
                _listed([gpu for gpu in usable if gpu in self._busy]),
            )
        return fitting

    def take(self, count: int, held: Mapping[Gpu, int]) -> tuple[Gpu, ...]:
        """The GPUs of one more trial: there are enough if `room`, asked last, said so."""
        usable = self._idle(self._usable(count)) if count else ()
        return place(usable, held, self._options.trials_per_gpu, count)

    def close(self) -> None:
        self._driver.close()

    def _all(self) -> tuple[Gpu, ...]:
        if self._there is None:
            self._there = self._driver.gpus()
        return self._there

    def _usable(self, count: int) -> tuple[Gpu, ...]:
        indices = self._options.gpu_indices
        gpus = visible(self._all(), os.environ.get(GPUS_VARIABLE))
        return tuple(gpu for gpu in gpus if (indices is None or gpu.index in indices) and (count == 1 or gpu.whole))

    def _idle(self, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
        return tuple(gpu for gpu in gpus if gpu not in self._busy)

    def _room(self, count: int, gpus: Collection[Gpu], held: Mapping[Gpu, int]) -> int:
        return room([max(0, self._options.trials_per_gpu - held.get(gpu, 0)) for gpu in gpus], count)

    def _is_busy(self, gpu: Gpu, in_use: bool, ours: Callable[[int], bool]) -> bool:
        """Whether a program other than our trials computes on it.

        In a container the driver may name processes by ids that are not ours to see; on a GPU that a trial of ours
        uses, those are taken for the trial's.
        """
        pids = self._driver.processes(gpu)
        return any(not ours(pid) and not (in_use and not psutil.pid_exists(pid)) for pid in pids)


class Driver:
    """NVIDIA's management library, kept open, since opening it can take a second. Without it there are no GPUs."""

    def __init__(self) -> None:
        self._open = False

    def gpus(self) -> tuple[Gpu, ...]:
        """In the driver's order, without those that it lists and cannot reach."""
        try:
            self._start()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError:
            return ()
        found: list[Gpu] = []
        for index in range(count):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                devices = _instances(handle) if _is_partitioned(handle) else [handle]
                found += [Gpu(index, str(pynvml.nvmlDeviceGetUUID(device))) for device in devices]
            except pynvml.NVMLError as error:
                log.warning("GPU %d is left out: %s", index, error)
        return tuple(found)

    def processes(self, gpu: Gpu) -> list[int]:
        """The ids of the processes that compute on it; none where the driver does not tell, and then the trial will
        show whether it can run."""
        try:
            self._start()
            handle = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
            return [int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
        except pynvml.NVMLError:
            return []

    def close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _start(self) -> None:
        if not self._open:
            pynvml.nvmlInit()
            self._open = True


def _is_partitioned(handle: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _instances(handle: Any) -> list[Any]:
    found = []
    for position in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, position))
        except pynvml.NVMLError:
            continue
    return found


def _listed(gpus: Collection[Gpu]) -> str:
    """`GPU 0`, `GPUs 0 and 1`, or `none`."""
    indices = [str(index) for index in sorted({gpu.index for gpu in gpus})]
    if not indices:
        return "none"
    return "GPU" + "s" * (len(indices) > 1) + " " + " and ".join(filter(None, [", ".join(indices[:-1]), indices[-1]]))
