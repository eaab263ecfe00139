"""The JSON that the command line and the REST API show: one declaration of every shape.

Times are RFC 3339 in UTC. JSON has no NaN: a number that is not finite shows as null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autoprune.records import JSON, ExperimentState, TrialState

T = TypeVar("T")


def clean(value: JSON) -> JSON:
    """The value without what JSON cannot say: numbers that are not finite, and halves of characters."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
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

    items: list[T]
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
    message: str


class TrialDetail(Trial):
    """A trial with the story of its attempts."""

    created: str | None = Field(description="When its parameters were proposed.", examples=[_TIME])
    duration: Number = Field(description="Seconds from `started` to `ended`.", examples=[12.5])
    runs: list[Attempt] = Field(description="Its attempts, the first first.")


class Report(Model):
    """One result that a trial reported."""

    attempt: int
    seq: int = Field(description="Counts the reports of an attempt.")
    final: bool
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
    duration: float = Field(description="Seconds it has run, pauses left out.", examples=[61.2])
    message: str = Field(description="Why it ended as it did; often empty.")
    trials: dict[TrialState, int] = Field(description="How many are in each state.", examples=[{"SUCCEEDED": 30}])
    optimize_mode: str = Field(description="`maximize` or `minimize`.", examples=["maximize"])
    best: Best | None = Field(
        description="The succeeded, feasible trial of the best value, or of the best mean where leaders were repeated; "
        "of equal ones, the first."
    )
    limits: Limits


class ExperimentDetail(Experiment):
    """An experiment with all it was set to."""

    seed: int
    config: Table = Field(description="The configuration, complete, durations in seconds.")


class ParetoTrial(Trial):
    """A trial that no other beats in everything that is optimised."""

    objectives: dict[str, float] = Field(
        description="All that is optimised, the default metric first.", examples=[{"default": 0.971, "macs": 120000.0}]
    )


class ExportedTrial(Trial):
    """A trial as `export` writes it: with every report."""

    created: str | None
    reports: list[Report]
