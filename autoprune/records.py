"""The records that pass between rooms: frozen, typed, without behaviour of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

JSON: TypeAlias = Any
"""What `json.loads` returns. No NaN and no infinities."""

Parameters: TypeAlias = Mapping[str, JSON]
"""What a trial gets: nested as the search space is, plain Python values."""


class Word(StrEnum):
    """One of a few words, which prints as the word, also inside of a dict or a list."""

    __repr__ = str.__repr__


class TrialState(Word):
    """Where a trial stands. The first two may still change; the others are final."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    INVALID = "INVALID"
    EARLY_STOPPED = "EARLY_STOPPED"
    USER_CANCELED = "USER_CANCELED"

    @property
    def finished(self) -> bool:
        return self not in (TrialState.WAITING, TrialState.RUNNING)


class ExperimentState(Word):
    """Where an experiment stands.

    INTERRUPTED is RUNNING in the store while no manager holds the lock: it, STOPPED and FAILED can be resumed.
    """

    RUNNING = "RUNNING"
    DONE = "DONE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


class OptimizeMode(Word):
    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True)
class Metric:
    """One report of a trial. `seq` is its line in the attempt's `metrics.jsonl`.

    `value` is the number that is optimised, None where it is missing or not finite; `values` is the whole
    report as a dict, whose `default` is the value.
    """

    attempt: int
    seq: int
    final: bool
    value: float | None
    values: Mapping[str, JSON]
    time: str


@dataclass(frozen=True)
class Trial:
    """A trial as the store knows it.

    `value` is the final result (of an early stopped trial the last intermediate one), `metrics` its whole dict.
    `tuner_state` is what the tuner returned with the proposal. `known` is how many trials had finished when the
    parameters were proposed, and `finish_order` this trial's place among the finished ones: together they let a
    tuner be rebuilt to exactly the knowledge it had. `origin` names the starting point that the parameters are, and is
    empty where the tuner proposed them; `repeat_of` is the trial whose parameters run once more, with a fresh seed.
    `feasible` is false where the result breaks a constraint of the experiment: such a trial is never the best.
    `duration` is how many seconds its attempts took together, once it has ended.
    """

    number: int
    state: TrialState
    parameters: Parameters
    value: float | None = None
    metrics: Mapping[str, JSON] = field(default_factory=dict)
    created: str | None = None
    started: str | None = None
    ended: str | None = None
    attempts: int = 0
    message: str = ""
    tuner_state: JSON = None
    known: int = 0
    finish_order: int | None = None
    origin: str = ""
    repeat_of: int | None = None
    feasible: bool = True
    duration: float | None = None


@dataclass(frozen=True)
class History:
    """What a tuner knows: finished trials in the order they finished (append-only), and those still running."""

    finished: Sequence[Trial] = ()
    running: Sequence[Trial] = ()


@dataclass(frozen=True)
class Proposal:
    """A tuner's answer: parameters for one trial, and the state (JSON) it wants back after a rebuild."""

    parameters: Parameters
    state: JSON = None


@dataclass(frozen=True)
class Verdict:
    """An assessor's answer about a running trial."""

    stop: bool = False
    reason: str = ""


@dataclass(frozen=True)
class TrialSpec:
    """All a runner needs to start one attempt of a trial."""

    experiment: str
    number: int
    attempt: int
    command: str
    code_directory: Path
    folder: Path
    output: Path
    parameters: Parameters
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0


@dataclass(frozen=True)
class Group:
    """Layers of a model that share one sparsity. `size` counts their weights; `units` their filters that can go as
    one, or None where single weights go."""

    name: str
    layers: tuple[str, ...]
    size: int
    units: int | None = None


@dataclass(frozen=True)
class Curve:
    """How good a model is after a pruner has taken these shares of one group alone, without training."""

    pruner: str
    group: str
    sparsities: tuple[float, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class StartingPoint:
    """Parameters that an experiment tries before it asks its tuner, and what to call them."""

    name: str
    parameters: Parameters


@dataclass(frozen=True)
class ModelFacts:
    """What the rest of autoprune knows of the model of a task.

    `dense` is what the task's `evaluate` says of it before anything is pruned, `cost` its parameters, MACs and bytes.
    `groups` are by pruner, and `curves` say how much each of them matters. `budget` says what every trial keeps to.
    `space` is the search space that the groups make, and `starts` are what is tried first.
    """

    dense: Mapping[str, JSON]
    cost: Mapping[str, JSON]
    groups: Mapping[str, Sequence[Group]]
    curves: Sequence[Curve]
    budget: Mapping[str, JSON]
    space: Mapping[str, JSON]
    starts: Sequence[StartingPoint]


@dataclass(frozen=True)
class Exit:
    """How an attempt ended: an exit code, or the number of the signal that ended it."""

    code: int | None
    signal: int | None = None

    @property
    def ok(self) -> bool:
        return self.code == 0


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(stamp: str) -> float:
    """The inverse of `timestamp`."""
    return datetime.fromisoformat(stamp).timestamp()
