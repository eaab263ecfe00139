"""Trials and all else that figures are drawn of, made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import plotly.graph_objects as go

from autoprune import plots
from autoprune.plots import Theme
from autoprune.records import JSON, TrialState, seconds, timestamp
from autoprune.results.importance import paths
from autoprune.results.models import Importance, Report, Trial

START = 1_900_000_000.0


def trial(number: int = 0, value: float | None = None, state: str = "SUCCEEDED", **given: Any) -> Trial:
    begun = {"started": timestamp(START + 10 * number), "ended": timestamp(START + 10 * number + 15)}
    ordinary = {
        "duration": _lasted(**{**begun, **given}),
        "parameters": {"x": number / 10, "kind": {"_name": "ab"[number % 2], "y_sparsity": 0.5}},
        "metrics": {} if value is None else {"default": value},
        "attempts": 1,
        "message": "",
        "origin": "",
        "repeat_of": None,
        "feasible": True,
    }
    return Trial(**{"number": number, "state": TrialState(state), "value": value, **begun, **ordinary, **given})


def _lasted(started: str | None, ended: str | None, **_given: Any) -> float | None:
    return None if started is None or ended is None else round(seconds(ended) - seconds(started), 3)


def report(value: float | None, seq: int = 0, *, final: bool = False) -> Report:
    return Report(attempt=0, seq=seq, final=final, value=value, values={}, time=timestamp(START))


def facts(**given: JSON) -> dict[str, JSON]:
    curve = {"pruner": "l1", "group": "conv", "sparsities": [0.5, 0.9], "values": [0.8, None]}
    groups = {"l1": [{"name": "conv", "layers": ["conv", "shortcut"], "size": 100, "units": 10}]}
    cost = {"parameters": 100, "macs": 1000, "bytes": 420}
    return {"dense": {"default": 0.9}, "cost": cost, "groups": groups, "curves": [curve], "budget": {}, **given}


def many(count: int, parameters: int, *, seed: int = 1) -> list[Trial]:
    """Trials in all states, with layers and long messages."""
    random = Random(seed)
    states = random.choices(list(TrialState), [1, 1, 80, 5, 5, 5, 4], k=count)
    return [_one(number, state, parameters, random) for number, state in enumerate(states)]


def _one(number: int, state: TrialState, parameters: int, random: Random) -> Trial:
    ended = state in (TrialState.SUCCEEDED, TrialState.EARLY_STOPPED)
    layers = {f"layer{place}": {"sparsity": random.random(), "kept": 1, "of": 4} for place in range(parameters)}
    own = {f"layer{place}_sparsity": random.random() for place in range(parameters - 2)}
    return trial(
        number,
        random.random() if ended else None,
        state,
        parameters={"rate": 10 ** random.uniform(-5, 0), "method": {"_name": random.choice("abc"), **own}},
        metrics={"macs": random.randrange(10**6), "layers": layers} if ended else {},
        message="" if ended else "failed: " + "x" * 500,
        feasible=random.random() < 0.9,
    )


def names(trials: Sequence[Trial]) -> list[str]:
    """As importance calls the parameters."""
    return list(dict.fromkeys(name for trial in trials[:100] for name, _ in paths(trial.parameters)))


def figures(trials: Sequence[Trial], theme: Theme = "light") -> dict[str, Callable[[], go.Figure]]:
    """Every figure that is drawn of trials, of these."""
    curves = {each.number: [report(each.value), report(each.value, 1, final=True)] for each in trials[-100:]}
    weights = [Importance(name=name, importance=1 / len(names(trials))) for name in names(trials)]
    told = [
        {"pruner": "l1", "group": layer, "sparsities": [0.5], "values": [0.8]}
        for each in trials[:1]
        for layer in each.metrics.get("layers", {})
    ]
    drawn: Mapping[str, Callable[[], go.Figure]] = {
        "history": lambda: plots.history(trials, "maximize", theme),
        "parallel_coordinates": lambda: plots.parallel_coordinates(trials, "maximize", theme),
        "importance": lambda: plots.importance(weights, theme),
        "intermediate": lambda: plots.intermediate(curves, theme),
        "timeline": lambda: plots.timeline(trials, theme),
        "pareto": lambda: plots.pareto(trials, plots.front(trials, "macs", "maximize"), "macs", "maximize", 5e5, theme),
        "layers_heatmap": lambda: plots.layers_heatmap(trials, theme),
        "slices": lambda: plots.slices(trials, names(trials), theme),
        "concurrency": lambda: plots.concurrency(trials, theme),
        "duration": lambda: plots.duration(trials, theme),
        "sensitivity": lambda: plots.sensitivity(facts(curves=told), theme),
    }
    bars = {"layer_bars": lambda: plots.layer_bars(trials[0], theme)} if trials else {}
    return {**drawn, **bars}


def plain(figure: go.Figure) -> dict[str, JSON]:
    """As a browser gets it."""
    told: dict[str, JSON] = json.loads(figure.to_json(), parse_constant=_no_constant)
    return told


def trace(figure: go.Figure, name: str) -> dict[str, JSON]:
    """The only trace of this name."""
    (found,) = (each for each in plain(figure)["data"] if each.get("name") == name)
    return dict(found)


def note(figure: go.Figure) -> str:
    return str(figure.layout.title.subtitle.text)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
