"""What a runner is: it starts attempts, says when they end, and kills them with everything they started.

How a trial reports is the same under every runner (`autoprune.protocol`): it appends to a file in its attempt's
folder. A runner only has to make `wait` return soon after that file grows.
"""

from __future__ import annotations

import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from autoprune import protocol
from autoprune.records import Exit, TrialSpec


@dataclass(frozen=True)
class Options:
    """What the configuration says about how trials run, beyond each trial's own `TrialSpec`."""

    gpu_indices: tuple[int, ...] | None = None
    trials_per_gpu: int = 1
    use_active_gpu: bool = False
    warm_start: bool = True


@dataclass(frozen=True)
class Started:
    """The process of an attempt: its id, and when it was created, since ids are used again."""

    pid: int
    created: float


@dataclass(frozen=True)
class Ended:
    """An attempt is over; none of its processes is left. The exit is None where nobody saw it."""

    number: int
    exit: Exit | None


DEFAULTS = Options()


class Runner(ABC):
    """Subclass, give it a `name`. One object runs the trials of one experiment; it is used from one thread."""

    name: ClassVar[str]
    patience: ClassVar[float] = 0.1
    """How long, by the runner's clock, the manager may wait before it looks for commands again."""

    def __init__(self, concurrency: int, options: Options = DEFAULTS) -> None:
        self.concurrency = concurrency
        self.options = options

    @abstractmethod
    def start(self, spec: TrialSpec) -> Started:
        """Start one attempt; `write_inputs` and `variables` are what it finds."""

    @abstractmethod
    def wait(self, timeout: float, also: Collection[int] = ()) -> list[Ended]:
        """Sleep until an attempt ends or reports, a descriptor of `also` can be read, or the time is up."""

    @abstractmethod
    def kill(self, number: int, *, now: bool = False) -> None:
        """Begin to end a trial: ask it first, unless `now`. `wait` says when it is gone."""

    @abstractmethod
    def reclaim(self, folder: Path, started: Started | None) -> None:
        """End whatever is left of an attempt that another manager started, and return when it is gone."""

    @abstractmethod
    def close(self) -> None:
        """End every trial at once, and let go of everything."""

    def check(self, gpus: int) -> str | None:
        """Why trials with this many GPUs cannot run here, in a sentence; None when they can."""
        return None

    def prepare(self, command: str, folder: Path, log: Path) -> None:  # noqa: B027
        """Trials of this command will start in this folder soon: what takes time may begin, and write to the log."""

    def slots(self, gpus: int) -> int:
        """How many trials with this many GPUs may run at a time."""
        return self.concurrency

    def now(self) -> float:
        """Seconds since 1970 by the clock that the trials live by."""
        return time.time()


def write_inputs(spec: TrialSpec) -> None:
    """The attempt's folder: its parameters, and the empty file its reports go to."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    spec.output.mkdir(parents=True, exist_ok=True)
    (spec.folder / protocol.PARAMETERS).write_text(json.dumps(spec.parameters, allow_nan=False), encoding="utf-8")
    (spec.folder / protocol.METRICS).touch()


def variables(spec: TrialSpec) -> dict[str, str]:
    """The environment variables by which the trial API finds its attempt."""
    return {
        protocol.EXPERIMENT_VARIABLE: spec.experiment,
        protocol.TRIAL_VARIABLE: f"{spec.experiment}-{spec.number}",
        protocol.SEQUENCE_VARIABLE: str(spec.number),
        protocol.ATTEMPT_VARIABLE: str(spec.folder),
        protocol.OUTPUT_VARIABLE: str(spec.output),
        **spec.environment,
    }


def write_exit(folder: Path, exit: Exit) -> None:
    """How the attempt ended, for people and for a manager that comes later; a full disk or a folder that the trial
    has removed must not hide the end itself."""
    with contextlib.suppress(OSError):
        (folder / protocol.EXIT).write_text(json.dumps(asdict(exit)), encoding="utf-8")


def read_exit(folder: Path) -> Exit | None:
    """What `write_exit` wrote; None where nobody saw the end, or saw it only in part."""
    try:
        return Exit(**json.loads((folder / protocol.EXIT).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
