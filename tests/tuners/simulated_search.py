"""Searches without a manager: trials that run side by side, fail, and stop early, by a fixed plan."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from autoprune.records import History, OptimizeMode, Parameters, Proposal, Trial, TrialState
from autoprune.search_space import Space
from autoprune.tuners import Tuner, make_tuner, tuners

Make = Callable[[Space, OptimizeMode, int], Tuner]
Objective = Callable[[Parameters], float]


def maker(name: str, **class_args: Any) -> Make:
    """Makes the tuner of a name, as the advisor does."""
    plugin = tuners.get(name)

    def make(space: Space, mode: OptimizeMode, seed: int) -> Tuner:
        return make_tuner(plugin, space, plugin.Args.model_validate({"optimize_mode": mode, **class_args}), seed)

    return make


def brief(name: str) -> dict[str, Any]:
    """Arguments under which a tuner leaves its first generation within a short search."""
    return {"population_size": 6} if "population_size" in tuners.get(name).Args.model_fields else {}


def flattening(name: str) -> bool:
    """Whether `flatten` makes a difference to a tuner."""
    return "flatten" in tuners.get(name).Args.model_fields


@dataclass(frozen=True)
class Asked:
    """One ask: the number, what was known, and the answer."""

    number: int
    history: History
    proposal: Proposal | None


def any_objective(parameters: Parameters) -> float:
    """A number between 0 and 1 that depends on every parameter."""
    return zlib.crc32(json.dumps(parameters, sort_keys=True).encode()) / 2**32


def search(
    tuner: Tuner,
    count: int,
    objective: Objective = any_objective,
    concurrency: int = 3,
    rough: bool = True,
    mirrored: bool = False,
) -> list[Asked]:
    """Ask for `count` trials, `concurrency` at a time, the oldest but one finishing first.

    Where it is `rough`, some trials fail, are canceled, are not numbers, or stop early, and one was not asked for.
    """
    asked: list[Asked] = []
    finished: list[Trial] = []
    running: list[Trial] = []
    for number in range(count):
        while len(running) >= concurrency:
            finished.append(_finish(running.pop(min(1, concurrency - 1)), len(finished), objective, rough, mirrored))
        history = History(tuple(finished), tuple(running))
        if rough and number == 6 and asked[0].proposal is not None:
            running.append(Trial(number, TrialState.RUNNING, asked[0].proposal.parameters, known=len(finished)))
            continue
        proposal = tuner.ask(number, history)
        asked.append(Asked(number, history, proposal))
        if proposal is None:
            break
        trial = Trial(number, TrialState.RUNNING, proposal.parameters, tuner_state=proposal.state, known=len(finished))
        running.append(_through_the_store(trial))
    return asked


def proposals(asked: list[Asked]) -> list[Proposal | None]:
    return [ask.proposal for ask in asked]


def best(asked: list[Asked], objective: Objective) -> float:
    return min(objective(ask.proposal.parameters) for ask in asked if ask.proposal)


def _finish(trial: Trial, order: int, objective: Objective, rough: bool, mirrored: bool) -> Trial:
    states = {2: TrialState.FAILED, 4: TrialState.EARLY_STOPPED, 7: TrialState.INVALID, 8: TrialState.USER_CANCELED}
    state = states.get(trial.number % 11, TrialState.SUCCEEDED) if rough else TrialState.SUCCEEDED
    value = -objective(trial.parameters) if mirrored else objective(trial.parameters)
    valued = state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED)
    return replace(
        trial,
        state=state,
        value=value if valued else None,
        metrics={"default": value} if valued else {},
        finish_order=order,
    )


def _through_the_store(trial: Trial) -> Trial:
    """What a tuner returns is JSON, and comes back as JSON."""
    parameters = json.loads(json.dumps(trial.parameters, allow_nan=False))
    return replace(trial, parameters=parameters, tuner_state=json.loads(json.dumps(trial.tuner_state, allow_nan=False)))


def allocation(parameters: Parameters) -> float:
    """A small loss over a nested space like the one below: the method matters, and each layer's sparsity."""
    method = parameters["method"]
    bias = {"agp": 0.0, "level": 0.05, "l1": 0.2}[method["_name"]]
    return bias + math.fsum((method[f"conv{layer}"] - 0.3 - 0.1 * layer) ** 2 for layer in range(4))


def layers(count: int) -> dict[str, Any]:
    """A method, and under each the sparsities of so many layers."""
    sparsity = {"_type": "uniform", "_value": [0.1, 0.9]}
    options = [{"_name": name, **{f"conv{i}": sparsity for i in range(count)}} for name in ("level", "agp", "l1")]
    return {"method": {"_type": "choice", "_value": options}}


ALLOCATION = layers(4)
