"""The values of trials, in the order of their numbers, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import plotly.graph_objects as go

from autoprune.plots._data import number, part, sign, spread, succeeded, too_far, written
from autoprune.plots._style import BEST, BLUE, GREY, STATES, Theme, called, escape, figure, nothing, scatter, whole
from autoprune.records import OptimizeMode, TrialState
from autoprune.results.models import Trial

_TITLE = "History"
_MOST = 2000
_STRIP, _VALUES = [0.0, 0.06], [0.1, 1.0]
_OTHERS = {"infeasible": (GREY, "circle-open"), "repeated": (BLUE, "diamond-open")}


def history(trials: Sequence[Trial], mode: OptimizeMode | str, theme: Theme = "light") -> go.Figure:
    """A sign for each trial: its value, or in the strip below what became of it where it has none.

    The line is the best value so far of all trials that may be the best: they succeeded, break no constraint and are
    not repeats. Of many trials those that were the best in their time are shown first, and others at even distances.
    """
    begun = [trial for trial in trials if trial.state is not TrialState.WAITING]
    if not begun:
        return nothing(_TITLE, "no trial has begun yet", theme)
    begun.sort(key=attrgetter("number"))
    leading = spread(_leading(begun, mode), _MOST // 2)
    shown = _shown(begun, {trial.number for trial in leading})
    kinds: dict[tuple[str, bool], list[Trial]] = {}
    for trial in shown:
        kinds.setdefault((_kind(trial), number(trial.value) is None), []).append(trial)
    return figure(
        _TITLE,
        [*(_signs(kind, given) for (kind, _), given in kinds.items()), *_line(leading, begun[-1].number)],
        theme=theme,
        x="trial",
        y="value",
        legend=True,
        notes=[
            part(len(shown), len(begun), "trials", "those that were the best in their time among them"),
            too_far(trial.value for trial in begun),
        ],
        xaxis={"anchor": "free", "position": 0, **whole(trial.number for trial in begun)},
        yaxis_domain=_VALUES if any(number(trial.value) is None for trial in shown) else [0, 1],
        yaxis2={"domain": _STRIP, "range": [-1, 1], "fixedrange": True, "visible": False},
    )


def _leading(trials: Sequence[Trial], mode: OptimizeMode | str) -> list[Trial]:
    """Those that were better than all before them."""
    found: list[Trial] = []
    best = -math.inf
    for trial in succeeded(trials):
        value = sign(mode) * (trial.value or 0.0)
        if value > best and trial.repeat_of is None:
            found.append(trial)
            best = value
    return found


def _shown(trials: Sequence[Trial], always: set[int]) -> list[Trial]:
    others = [trial.number for trial in trials if trial.number not in always]
    chosen = always.union(spread(others, _MOST - len(always)))
    return [trial for trial in trials if trial.number in chosen]


def _kind(trial: Trial) -> str:
    if trial.state is not TrialState.SUCCEEDED:
        return called(trial.state)
    if not trial.feasible:
        return "infeasible"
    return "succeeded" if trial.repeat_of is None else "repeated"


def _signs(kind: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Trials of one kind, all of which have a value that can be drawn, or none."""
    below = number(trials[0].value) is None
    colour, symbol = _OTHERS.get(kind, STATES[trials[0].state])
    return scatter(
        name=kind,
        mode="markers",
        x=[trial.number for trial in trials],
        y=[0 if below else trial.value for trial in trials],
        yaxis="y2" if below else "y",
        text=[_about(trial) for trial in trials],
        hovertemplate=f"trial %{{x}}{'' if below else ': %{y}'}%{{text}}<extra></extra>",
        marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.75},
    )


def _about(trial: Trial) -> str:
    """What the sign alone does not tell."""
    said = [
        "" if trial.state is TrialState.SUCCEEDED else trial.state,
        "" if number(trial.value) == trial.value else written(trial.value),
        "" if trial.feasible else "breaks a constraint",
        trial.origin if trial.repeat_of is None else f"repeat of {trial.repeat_of}",
        trial.message[:100],
    ]
    return "".join(f"<br>{escape(each)}" for each in said if each)


def _line(leading: Sequence[Trial], last: int) -> list[dict[str, Any]]:
    """In steps, to the last trial."""
    if not leading:
        return []
    line = scatter(
        name="best so far",
        mode="lines",
        x=[*(trial.number for trial in leading), last],
        y=[*(trial.value for trial in leading), leading[-1].value],
        line={"color": BEST, "width": 2, "shape": "hv"},
        hovertemplate="best so far: %{y}<extra></extra>",
    )
    return [line]
