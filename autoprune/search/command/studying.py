"""Before the search: check the task, prepare its model, scan how sensitive its layers are, and say where to start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from autoprune.compression.command.subject import cost_of, tell
from autoprune.errors import UsageError
from autoprune.protocol import DEFAULT
from autoprune.records import JSON, Curve, ModelFacts
from autoprune.search.checking import checked
from autoprune.search.heuristics import Subject
from autoprune.search.job import Job
from autoprune.search.knapsack import Points
from autoprune.search.learnt import Learnt
from autoprune.search.loading import calibration_of, finite
from autoprune.search.pruning import is_gradual
from autoprune.search.scaling import Kind, Scaler
from autoprune.search.scan import points, scan
from autoprune.search.settings import Settings
from autoprune.search.space import highest_for, read_parameters, space_of
from autoprune.search.starting import starting_points


def run(*, settings: Mapping[str, JSON], curves: Sequence[JSON] = (), workers: int = 1) -> dict[str, Any]:
    """The facts of the task's model, as JSON. `curves` are those that an earlier scan of the task has measured."""
    given = Settings.of(settings)
    tell(f"builds the model of {given.task.called}")
    job, kinds = checked(given)
    job.prepare()
    model = job.dense()
    values = job.score(model)
    if not math.isfinite(values[DEFAULT]):
        raise UsageError(
            f"{given.task.called}: evaluate gives {values[DEFAULT]} of the dense model; expected a finite number "
            "(are its weights trained?)"
        )
    tell(f"the dense model has {values[DEFAULT]:.6g}")
    cost = cost_of(model, job.example, latency=False)
    scalers: dict[Kind, Scaler] = {kind: job.scaler(kind, model) for kind in dict.fromkeys(kinds.values())}
    known = [Curve(**curve) for curve in curves]
    found = _scanned(job, model, kinds, known, workers) if given.search["scan"] else []
    subjects = {
        kind: Subject(
            model,
            scaler,
            job.example,
            calibration_of(job.task, given.task),
            job.task.loss,
            _lost(found, _first_scanned(kinds, kind), values[DEFAULT], given.maximize),
            Learnt.of(given).scores() if kind == "weights" and any(map(is_gradual, kinds)) else {},
        )
        for kind, scaler in scalers.items()
    }
    starts = starting_points(kinds, subjects, tell) if given.search["heuristics"] else []
    groups = {pruner: scalers[kind].groups for pruner, kind in kinds.items()}
    tried = [sparsity for start in starts for sparsity in read_parameters(start.parameters)[1].values()]
    facts = ModelFacts(
        dense=finite(values),
        cost={"parameters": cost.parameters, "macs": cost.macs, "bytes": cost.dense_bytes},
        groups=groups,
        curves=found,
        budget=next(iter(scalers.values())).described(),
        space=space_of(groups, highest_for(tried)),
        starts=starts,
    )
    return asdict(facts)


def _scanned(
    job: Job, model: nn.Module, kinds: Mapping[str, Kind], known: Sequence[Curve], workers: int
) -> list[Curve]:
    """How much each group matters to each pruner, whatever the budget."""
    free = {kind: job.scaler(kind, model, free=True) for kind in dict.fromkeys(kinds.values())}
    pruners = {_scanned_as(pruner): kind for pruner, kind in kinds.items()}
    wanted = [point for pruner, kind in pruners.items() for point in points(pruner, free[kind])]
    return scan(job, wanted, known, workers, tell)


def _scanned_as(pruner: str) -> str:
    """What gradual pruning has learnt says nothing of the dense model: its layers are as sensitive as to magnitudes."""
    return "level" if is_gradual(pruner) else pruner


def _first_scanned(kinds: Mapping[str, Kind], kind: Kind) -> str:
    return next(_scanned_as(pruner) for pruner in kinds if kinds[pruner] == kind)


def _lost(curves: Sequence[Curve], pruner: str, dense: float, maximize: bool) -> dict[str, Points]:
    """What each group loses by this pruner: positive where the model gets worse."""
    sign = 1 if maximize else -1
    return {
        curve.group: [
            (sparsity, None if value is None else sign * (dense - value))
            for sparsity, value in zip(curve.sparsities, curve.values, strict=True)
        ]
        for curve in curves
        if curve.pruner == pruner
    }
