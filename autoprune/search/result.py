"""`Result`: what a search came to, or one of its trials made again; `result.json` is it, and the card is of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprune.records import JSON
from autoprune.search.scaling import Kind

Values = Mapping[str, float | None]
"""What `evaluate` or `test` says; None where that is not a finite number."""


@dataclass(frozen=True)
class Contender:
    """An allocation that was searched, or that the search began with, which `name` then tells.

    `validation` is the value of its trial, `repeats` those of its repeats, and `test` what `test` says of each of its
    models that was kept.
    """

    trial: int
    name: str
    validation: float | None
    repeats: Sequence[float]
    test: Sequence[float | None]


@dataclass(frozen=True)
class LayerShare:
    """A layer: the share that was to go and the one that is gone, and how many weights or filters of how many stay."""

    name: str
    requested: float
    sparsity: float
    kept: int
    of: int


@dataclass(frozen=True)
class Verdict:
    """The best trial and the best starting point, by the means of their repeats on validation, and whether the
    difference is more than noise: the standard deviation of one evaluation. None is not known. `said` is all that in
    words, beside what test says."""

    winner: int
    rival: int | None
    noise: float | None
    ahead: bool | None
    said: str = ""


@dataclass(frozen=True)
class Result:
    """A model that was made of trial `trial`, with its figures beside those of the dense one.

    `validation` and `test` have the values of the models along the way: `dense`, `pruned` before any training,
    `trained` as a trial is, and `final`. It trained for `epochs`, and for `further` ones that were kept where they made
    it better (`went_on`). `verdict` is None for one trial made again. `budget` is as a scaler describes it, with what
    was `given` and `achieved`. `figures` compare the dense model and this one, `again` is the command that
    makes it once more, and `said` tells all in short.
    """

    experiment: str
    trial: int
    task: str
    file: str
    arguments: Mapping[str, JSON]
    pruner: str
    kind: Kind
    form: str
    maximize: bool
    budget: Mapping[str, JSON]
    epochs: int
    further: int
    went_on: bool
    validation: Mapping[str, Values]
    test: Mapping[str, Values]
    verdict: Verdict | None
    contenders: Sequence[Contender]
    layers: Sequence[LayerShare]
    figures: Sequence[Mapping[str, JSON]]
    notes: Sequence[str]
    files: Sequence[str]
    again: str
    said: str = ""
