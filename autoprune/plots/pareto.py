"""The value of trials against one number that they report, such as a cost, and those that no other beats."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.latency import REPORTED
from autoprune.pareto import fronts
from autoprune.plots._data import number, part, sign, spread, succeeded, too_far, written
from autoprune.plots._style import BEST, BLUE, GREY, Theme, escape, figure, nothing, scatter
from autoprune.records import JSON, OptimizeMode, TrialState
from autoprune.results.models import Trial

_MOST = 2000
_METRICS = {"latency": REPORTED, "parameters": "parameters", "macs": "macs", "size": "bytes", "sparsity": "sparsity"}
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "succeeded": {"color": BLUE, "opacity": 0.7, "size": 7},
    "repeated": {"color": BLUE, "symbol": "diamond-open", "size": 7},
    "infeasible": {"color": GREY, "symbol": "circle-open", "size": 7},
}
_MORE = ("sparsity",)
"""Numbers of which more is better, unless an experiment says otherwise; of all others less is."""


def pareto(
    trials: Sequence[Trial],
    front_numbers: Collection[int],
    x: str,
    mode: OptimizeMode | str,
    budget: float | None = None,
    theme: Theme = "light",
) -> go.Figure:
    """A sign for each trial that succeeded: `x` is the name of a number that it reports. The trials of the front are
    joined by what can be had at each cost, and the dashed line is the budget.

    Of many trials those at even distances are shown, and the whole front.
    """
    title = f"Value against {x}"
    every = [trial for trial in trials if _point(trial, x) is not None]
    if not every:
        return nothing(title, f"no trial has succeeded and reported {x} yet", theme)
    front = [trial for trial in every if trial.number in front_numbers]
    others = [trial for trial in every if trial.number not in front_numbers]
    shown = spread(others, max(_MOST - len(front), 2))
    kinds: dict[str, list[Trial]] = {"succeeded": [], "repeated": [], "infeasible": []}
    for trial in shown:
        own = "succeeded" if trial.repeat_of is None else "repeated"
        kinds[own if trial.feasible else "infeasible"].append(trial)
    drawn = figure(
        title,
        [
            *(_signs(kind, given, x, **_LOOKS[kind]) for kind, given in kinds.items()),
            _joined(front, x, mode),
        ],
        theme=theme,
        x=x,
        y="value",
        notes=[
            part(len(shown) + len(front), len(every), "trials", "all that no other beats among them"),
            too_far(value for trial in trials for value in (trial.value, trial.metrics.get(x))),
        ],
        legend=True,
        xaxis_range=_around({trial.metrics[x] for trial in every} | ({budget} if budget is not None else set())),
    )
    if budget is None:
        return drawn
    text = {
        "text": f"budget {written(budget)}",
        "showarrow": False,
        "yref": "paper",
        "y": 1,
        "x": budget,
        "xanchor": "left",
    }
    line = {"dash": "dash", "width": 1.5, "color": GREY}
    return drawn.add_vline(budget, line=line).add_annotation({**text, "xshift": 4})


def front(
    trials: Sequence[Trial], x: str, mode: OptimizeMode | str, x_mode: OptimizeMode | str | None = None
) -> list[int]:
    """The numbers of the feasible trials that no other beats in both its value and `x`; repeats do not count.

    `x_mode` says which way `x` is better; unless it is given, less is better, and more of the sparsity.
    """
    own = [(trial, point) for trial in succeeded(trials) if trial.repeat_of is None and (point := _point(trial, x))]
    signs = (-sign(x_mode or (OptimizeMode.MAXIMIZE if x in _MORE else OptimizeMode.MINIMIZE)), -sign(mode))
    losses = [[towards * each for towards, each in zip(signs, point, strict=True)] for _, point in own]
    return [own[place][0].number for best in fronts(losses, 1) for place in best]


def budget_line(facts: Mapping[str, JSON] | None) -> tuple[str, float] | None:
    """The number that a task's budget limits, as its trials report it, and the limit; None without a budget.

    A limit of sparsity is kept as a count of weights, and one of size without the header of the file.
    """
    given = facts["budget"] if facts else {}
    if not facts or not given:
        return None
    limit, dense = float(given["limit"]), float(given["dense"])
    if given["kind"] == "sparsity":
        limit = 1 - limit / dense
    elif given["kind"] == "size":
        limit += facts["cost"]["bytes"] - dense
    return _METRICS[given["kind"]], limit


def _point(trial: Trial, x: str) -> tuple[float, float] | None:
    cost = number(trial.metrics.get(x))
    value = number(trial.value)
    if trial.state is not TrialState.SUCCEEDED or value is None or cost is None:
        return None
    return cost, value


def _around(costs: Collection[float]) -> tuple[float, float] | None:
    """What the axis shows where all costs are the same: Plotly would show them less and more one, whatever they are."""
    (least, *others) = costs
    room = abs(least) / 10 or 1.0
    return None if others else (least - room, least + room)


def _signs(name: str, trials: Sequence[Trial], x: str, **marker: Any) -> dict[str, Any]:
    return scatter(
        name=name,
        mode="markers",
        x=[trial.metrics[x] for trial in trials],
        y=[trial.value for trial in trials],
        customdata=[trial.number for trial in trials],
        hovertemplate=f"trial %{{customdata}}: %{{y}} at %{{x}} {escape(x)}<extra></extra>",
        marker=marker,
        visible=bool(trials),
    )


def _joined(front: Sequence[Trial], x: str, mode: OptimizeMode | str) -> dict[str, Any]:
    """In steps: what a trial reaches can be had until the next one on the front."""
    ordered = sorted(front, key=lambda trial: trial.metrics[x])
    rises = len(ordered) > 1 and (ordered[-1].value or 0) > (ordered[0].value or 0)
    shape = "hv" if rises is (sign(mode) > 0) else "vh"
    line = _signs("not beaten", ordered, x, color=BEST, size=10, symbol="diamond")
    return {**line, "mode": "lines+markers", "line": {"color": BEST, "width": 1.5, "shape": shape}}
