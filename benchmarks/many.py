"""A workspace with an experiment of very many trials, for benchmarks of what reads them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autoprune.records import ExperimentState, Metric, Trial, TrialState, timestamp
from autoprune.store import Experiment, Workspace, experiments, metrics, models, trials

ID = "many-300131-bench"
PARAMETERS = 50
_START = 1_900_000_000.0
_SECONDS = 3.0
_SIZE = 1000
_REPORTS = 5
_STATES = [
    *[TrialState.SUCCEEDED] * 17,
    TrialState.EARLY_STOPPED,
    TrialState.FAILED,
    TrialState.INVALID,
]


def build(root: Path, count: int = 10_000, *, layers: bool = False) -> Workspace:
    """A workspace in the folder `root` with one finished experiment of so many trials of PARAMETERS parameters.

    With `layers`, each trial reports what became of as many layers, as trials of a task do.
    """
    workspace = Workspace(root)
    store = workspace.create()
    draw = random.Random(7)
    made = [_trial(number, draw, layers) for number in range(count)]
    ended = timestamp(_START + _SECONDS * count)
    with store.write() as tx:
        experiments.create(
            tx, Experiment(ID, "many", _config(count), 7, ExperimentState.DONE, timestamp(_START), ended=ended)
        )
        experiments.set_active_seconds(tx, ID, _SECONDS * count)
        for start in range(0, count, 500):
            trials.create_all(tx, ID, made[start : start + 500])
        for trial in made:
            metrics.add(tx, ID, trial.number, _reports(trial, draw))
        models.save(tx, ID, "key", _facts())
    store.close()
    workspace.folder(ID).mkdir()
    return workspace


def _names() -> Iterator[str]:
    return (f"layer{place}" for place in range(PARAMETERS))


def _config(count: int) -> dict[str, Any]:
    sparsity = {"_type": "uniform", "_value": [0.0, 0.99]}
    branch = {"_name": "level", **{f"{name}_sparsity": sparsity for name in _names()}}
    return {
        "experimentName": "many",
        "searchSpace": {"prune_method": {"_type": "choice", "_value": [branch]}},
        "trialConcurrency": 4,
        "maxTrialNumber": count,
        "tuner": {"name": "TPE", "classArgs": {"optimize_mode": "maximize"}},
    }


def _facts() -> dict[str, Any]:
    groups = [{"name": name, "layers": [name], "size": _SIZE, "units": None} for name in _names()]
    facts = {"dense": {"default": 0.95}, "cost": {"macs": 10**6}, "groups": {"level": groups}}
    return {**facts, "curves": [], "budget": {}}


def _trial(number: int, draw: random.Random, layers: bool) -> Trial:
    sparsities = {name: draw.random() * 0.99 for name in _names()}
    state = draw.choice(_STATES)
    started = _START + _SECONDS * number
    value = 0.9 - 0.3 * sparsities["layer0"] ** 2 - 0.1 * sparsities["layer1"] + draw.gauss(0, 0.01)
    told = state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED)
    return Trial(
        number,
        state,
        {"prune_method": {"_name": "level", **{f"{name}_sparsity": share for name, share in sparsities.items()}}},
        value=value if told else None,
        metrics=_metrics(value, sparsities, layers) if told else {},
        created=timestamp(started),
        started=timestamp(started),
        ended=timestamp(started + _SECONDS * (1 + draw.random())),
        attempts=1,
        message="" if told else "exit code 1",
        known=max(0, number - 4),
        finish_order=number,
        origin="LAMP" if number == 0 else "",
        feasible=draw.random() < 0.95,
    )


def _metrics(value: float, sparsities: dict[str, float], layers: bool) -> dict[str, Any]:
    kept = {name: round(_SIZE * (1 - share)) for name, share in sparsities.items()}
    weights = sum(kept.values())
    report = {"default": value, "parameters": weights, "macs": weights * 36, "bytes": weights * 4}
    report["sparsity"] = 1 - weights / (_SIZE * PARAMETERS)
    if layers:
        report["layers"] = {
            name: {"sparsity": 1 - left / _SIZE, "kept": left, "of": _SIZE} for name, left in kept.items()
        }
    return report


def _reports(trial: Trial, draw: random.Random) -> Iterator[Metric]:
    """A learning curve, and the final result."""
    if trial.value is None:
        return
    for seq in range(_REPORTS):
        value = trial.value * (1 - 0.5 ** (seq + 1)) + draw.gauss(0, 0.005)
        yield Metric(0, seq, False, value, {"default": value}, trial.started or "")
    yield Metric(0, _REPORTS, True, trial.value, trial.metrics, trial.ended or "")
