"""The JSON that the command line and the REST API show: one declaration of every shape.

Times are RFC 3339 in UTC. JSON has no NaN: a number that is not finite shows as null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autoprune.records import JSON, ExperimentState, TrialState

T = TypeVar("T")


def clean(value: JSON) -> JSON:
    """The value without what JSON cannot say: numbers that are not finite, and halves of characters."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) or value is None:
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


Number = Annotated[float | None, BeforeValidator(clean)]
Table = Annotated[dict[str, JSON], BeforeValidator(clean)]

_TIME = "2030-01-31T12:00:00.000Z"
_PARAMETERS = {"prune_method": {"_name": "agp", "conv0_sparsity": 0.3, "conv1_sparsity": 0.8}}
_METRICS = {"default": 0.971, "sparsity": 0.8}


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Model, Generic[T]):
    """Part of a list; `next` is the cursor of the part that follows, null at the end."""

    items: list[T] = Field(description="The items of this part, in order.")
    next: str | None = Field(default=None, description="Give it as `cursor` to get what follows; null at the end.")


class Trial(Model):
    """A trial."""

    number: int = Field(description="Counts from 0 and is never used again.", examples=[7])
    state: TrialState
    parameters: Table = Field(
        description="What the trial ran with, nested as the search space.", examples=[_PARAMETERS]
    )
    value: Number = Field(
        description="The final result; of a trial stopped early, its last report. Null where there is none.",
        examples=[0.971],
    )
    metrics: Table = Field(description="The whole of that report; `default` is the value.", examples=[_METRICS])
    started: str | None = Field(description="When its first attempt started.", examples=[_TIME])
    ended: str | None = Field(examples=[_TIME])
    duration: Number = Field(
        description="Seconds that its attempts took together, once it has ended; the wait between them does not count.",
        examples=[12.5],
    )
    attempts: int = Field(description="How often it was started.", examples=[1])
    message: str = Field(description="What went wrong, or a warning; else empty.", examples=[""])
    origin: str = Field(description="The starting point it is; empty where the tuner proposed it.", examples=[""])
    repeat_of: int | None = Field(
        description="The trial whose parameters ran once more here, with a fresh seed.", examples=[None]
    )
    feasible: bool = Field(description="False where its result breaks a constraint of the experiment: never the best.")


class Best(Trial):
    """The best trial. Where leaders were repeated, it has the best `mean` of them, not the best `value`."""

    mean: Number = Field(description="The mean of its repeats; null where there are none.", examples=[None])
    repeats: int = Field(description="How many repeats succeeded.", examples=[0])
    noise: Number = Field(
        description="The standard deviation of a result over seeds, pooled over all repeated trials; null where there "
        "are too few repeats.",
        examples=[None],
    )


class Attempt(Model):
    """One start of a trial."""

    attempt: int = Field(description="Counts from 0.")
    started: str = Field(examples=[_TIME])
    ended: str | None = Field(examples=[_TIME])
    exit_code: int | None = Field(description="Null while it runs, or where a signal ended it.", examples=[0])
    signal: int | None = Field(description="The number of the signal that ended it.", examples=[None])
    message: str = Field(description="What went wrong, or a warning; else empty.", examples=[""])


class Cost(Model):
    """What the model of a trial costs, as far as the trial reported it."""

    parameters: Number = Field(default=None, description="Its weights that are not zero.", examples=[12000])
    macs: Number = Field(default=None, description="Multiplications for one example.", examples=[120000])
    bytes: Number = Field(default=None, description="What its parameters take.", examples=[48000])
    latency_ms: Number = Field(default=None, description="Milliseconds for one example.", examples=[1.5])


class LayerResult(Model):
    """What became of one layer in a trial."""

    layer: str = Field(examples=["conv1"])
    requested: Number = Field(description="The sparsity that was asked for, as the trial reports it.", examples=[0.8])
    achieved: Number = Field(description="The sparsity that came of it.", examples=[0.796])
    kept: Number = Field(description="How many weights, or filters, are left.", examples=[51])
    of: Number = Field(description="How many there were.", examples=[250])


class TrialDetail(Trial):
    """A trial with the story of its attempts, and what it made of its model."""

    created: str | None = Field(description="When its parameters were proposed.", examples=[_TIME])
    runs: list[Attempt] = Field(description="Its attempts, the first first.")
    cost: Cost | None = Field(description="What its model costs; null where it reported nothing of it.")
    layers: list[LayerResult] | None = Field(
        description="Its model layer by layer; null where it reported nothing of them."
    )


class Report(Model):
    """One result that a trial reported."""

    attempt: int = Field(description="Counts from 0.", examples=[0])
    seq: int = Field(description="Counts the reports of an attempt.", examples=[3])
    final: bool = Field(description="Whether it is the result of the attempt.", examples=[False])
    value: Number = Field(description="The number that is optimised; null where it was not finite.", examples=[0.95])
    values: Table = Field(description="The whole report.", examples=[_METRICS])
    time: str = Field(examples=[_TIME])


class Limits(Model):
    """What the experiment may use, by the names of the configuration; null where there is no limit."""

    trialConcurrency: int | None = Field(default=None, examples=[2])
    maxTrialNumber: int | None = Field(default=None, examples=[100])
    maxExperimentDuration: Number = Field(default=None, description="Seconds.", examples=[3600.0])
    maxTrialDuration: Number = Field(default=None, description="Seconds.", examples=[None])


class Experiment(Model):
    """An experiment, in short."""

    id: str = Field(examples=["digits-300131-k3zq"])
    name: str = Field(examples=["digits"])
    state: ExperimentState = Field(description="INTERRUPTED: it did not end, and nothing runs it now.")
    created: str = Field(examples=[_TIME])
    ended: str | None = Field(examples=[_TIME])
    duration: float = Field(
        description="Seconds for which its trials ran, from the first to the last; pauses, and what comes before and "
        "after the trials of a task, are left out. This is what maxExperimentDuration limits.",
        examples=[61.2],
    )
    message: str = Field(
        description="While it runs, what it does before or after its trials, such as `scan 3/17: ...`; then why it "
        "ended as it did. Often empty."
    )
    trials: dict[TrialState, int] = Field(description="How many are in each state.", examples=[{"SUCCEEDED": 30}])
    imported: int = Field(description="How many of them ran elsewhere: they count towards no limit.", examples=[0])
    repeated: int = Field(
        description="How many of those that have ended ran others again: they count towards no limit.", examples=[0]
    )
    optimize_mode: str = Field(description="`maximize` or `minimize`.", examples=["maximize"])
    best: Best | None = Field(
        description="The succeeded, feasible trial of the best value, or of the best mean where leaders were repeated; "
        "of equal ones, the first."
    )
    limits: Limits


class ExperimentDetail(Experiment):
    """An experiment with all it was set to."""

    seed: int = Field(description="What all chance follows from.", examples=[7])
    config: Table = Field(description="The configuration, complete, durations in seconds.")


class Durations(Model):
    """How long trials took, in seconds: those that ran here and have ended."""

    count: int = Field(description="How many trials these are.", examples=[30])
    total: float = Field(examples=[372.0])
    mean: float = Field(examples=[12.4])
    median: float = Field(examples=[11.9])
    p95: float = Field(description="95 % of them took no longer.", examples=[18.2])
    longest: float = Field(examples=[21.7])


class Improvement(Model):
    """A trial that was better than all that had finished before it."""

    number: int = Field(examples=[7])
    value: float = Field(examples=[0.971])
    ended: str | None = Field(examples=[_TIME])


class Statistics(Model):
    """An experiment in numbers."""

    total: int = Field(description="How many trials there are.", examples=[32])
    trials: dict[TrialState, int] = Field(description="How many are in each state.", examples=[{"SUCCEEDED": 30}])
    finished: int = Field(description="How many have ended, in whatever state.", examples=[30])
    success_rate: Number = Field(description="The share of these that succeeded; null before the first.", examples=[1])
    first_started: str | None = Field(examples=[_TIME])
    last_ended: str | None = Field(examples=[_TIME])
    durations: Durations | None = Field(description="Null before the first trial has ended.")
    trials_per_hour: Number = Field(
        description="Trials that ended in an hour of the experiment, pauses left out; null before it is known.",
        examples=[290.5],
    )
    improvements: list[Improvement] = Field(
        description="The trials that were the best when they finished, in that order; of very many, some of them, the "
        "first and the last included. Repeats and trials that are not feasible do not count."
    )
    starting_points: int = Field(description="How many trials are starting points.", examples=[4])
    repeats: int = Field(description="How many trials run others again.", examples=[0])
    infeasible: int = Field(description="How many results break a constraint.", examples=[0])
    imported: int = Field(description="How many results come from elsewhere.", examples=[0])
    retried: int = Field(description="How many trials were started more than once.", examples=[1])


class Importance(Model):
    """How much a parameter matters to the result."""

    name: str = Field(description="Its path in the search space.", examples=["prune_method/agp/conv0_sparsity"])
    importance: float = Field(description="Its share: all of them sum to 1.", examples=[0.62])


class TaskModel(Model):
    """What is known of the model of a task, and what its search came to."""

    facts: Table = Field(
        description="Its numbers before anything is pruned (`dense`, `cost`), its layers by pruner (`groups`), how "
        "sensitive they are (`curves`), the `budget`, the search `space` and what is tried first (`starts`).",
        examples=[{"dense": {"default": 0.98}, "cost": {"parameters": 60000}, "groups": {}, "curves": []}],
    )
    result: Table | None = Field(
        description="The best model and how good it is; null before the search has ended.", examples=[None]
    )


class ParetoTrial(Trial):
    """A trial that no other beats in everything that is optimised."""

    objectives: dict[str, float] = Field(
        description="All that is optimised, the default metric first.", examples=[{"default": 0.971, "macs": 120000.0}]
    )


class ExportedTrial(Trial):
    """A trial as `export` writes it: with every report."""

    created: str | None
    reports: list[Report]


class Command(Model):
    """Something asked of the manager that runs an experiment."""

    id: int = Field(examples=[12])
    experiment: str = Field(examples=["digits-300131-k3zq"])
    kind: Literal["stop", "update", "kill", "retry", "enqueue", "import"] = Field(examples=["retry"])
    state: Literal["pending", "done", "refused"] = Field(description="`pending` for the tenth of a second, or less.")
    answer: str = Field(description="Why it was refused; else empty.", examples=[""])
    trial: int | None = Field(description="The trial that was made, where it is about one.", examples=[31])
    created: str = Field(examples=[_TIME])
    done: str | None = Field(description="When it was done or refused.", examples=[_TIME])
