"""The values of trials over one parameter after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.plots._data import columns, part, spread, succeeded, too_far, vary
from autoprune.plots._naming import labels
from autoprune.plots._scale import Scale
from autoprune.plots._style import Theme, figure, label, nothing, scatter, whole
from autoprune.records import JSON
from autoprune.results.importance import paths
from autoprune.results.layers import proportions
from autoprune.results.models import Trial

_TITLE = "Slices"
_TRIALS = 600
_PANELS = 12
_ACROSS = 3
_GAP = 0.06
_PANEL, _BETWEEN, _AROUND = 190, 70, 120
"""Heights in pixels: of a panel, between two of them, and above and below all."""


def slices(
    trials: Sequence[Trial],
    names: Sequence[str],
    theme: Theme = "light",
    *,
    of: int | None = None,
    facts: Mapping[str, JSON] | None = None,
) -> go.Figure:
    """A panel for each of these parameters (paths, as in `importance`): its value, and that of the trial.

    Parameters that are the same in all trials that have them have no panel. Signs are the darker, the later the trial.
    Of many trials those at even distances are shown, of many parameters the first. `of` is how many trials there are
    where these are a sample. With the `facts` of a task it says where sparsities are proportions.
    """
    every = sorted(succeeded(trials), key=lambda trial: trial.number)
    shown = spread(every, _TRIALS)
    given = columns(shown, paths)
    telling = [
        name for name in dict.fromkeys(names) if vary(value for value in given.get(name, ()) if value is not None)
    ]
    panels = telling[:_PANELS]
    if not panels:
        return nothing(_TITLE, "no trial has succeeded with these parameters yet", theme)
    rows = -(-len(panels) // _ACROSS)
    titles = labels(telling)
    scales = {name: Scale.of(given[name]) for name in panels}
    layout: dict[str, Any] = {}
    for place, name in enumerate(panels):
        layout |= _axes(place, rows, titles[name], scales[name])
    return figure(
        _TITLE,
        [_panel(place, shown, given[name], scales[name]) for place, name in enumerate(panels)],
        theme=theme,
        notes=[
            part(len(shown), of or len(every), "trials that succeeded", "evenly spread"),
            part(len(panels), len(telling), "parameters", "the first"),
            too_far(trial.value for trial in trials),
            proportions(facts),
        ],
        height=_AROUND + _tall(rows),
        coloraxis={"colorbar": {"title": {"text": "trial"}, **whole(trial.number for trial in shown)}},
        **layout,
    )


def _axes(place: int, rows: int, title: str, scale: Scale) -> dict[str, Any]:
    """Panels from left to right, then down; those of a row share the axis of the values."""
    row, column = divmod(place, _ACROSS)
    width, height = (1 + _GAP / 2) / _ACROSS, _PANEL / _tall(rows)
    left, top = column * width, 1 - row * (_PANEL + _BETWEEN) / _tall(rows)
    ticks = {"tickvals": list(scale.ticks()), "ticktext": list(scale.ticks().values())} if scale.categories else {}
    suffix = "" if place == 0 else str(place + 1)
    x = {
        "domain": [left, left + width - _GAP / 2],
        "anchor": f"y{suffix}",
        "title": {"text": title},
        "type": "log" if scale.logarithmic else "linear",
        **({"dtick": 1} if scale.logarithmic else {"nticks": 5}),
        **ticks,
    }
    y = {
        "domain": [max(top - height, 0.0), top],
        "anchor": f"x{suffix}",
        "matches": None if place == 0 else "y",
        "showticklabels": column == 0,
        "title": {"text": "value" if column == 0 else ""},
    }
    return {f"xaxis{suffix}": x, f"yaxis{suffix}": y}


def _tall(rows: int) -> int:
    return rows * (_PANEL + _BETWEEN) - _BETWEEN


def _panel(place: int, trials: Sequence[Trial], values: Sequence[JSON], scale: Scale) -> dict[str, Any]:
    suffix = "" if place == 0 else str(place + 1)
    places = [scale.place(value) for value in values]
    has = [each for each in zip(trials, values, places, strict=True) if each[2] is not None]
    return scatter(
        mode="markers",
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        x=[here for _, _, here in has],
        y=[trial.value for trial, _, _ in has],
        text=[label(str(value), 60) for _, value, _ in has] if scale.categories else None,
        customdata=[trial.number for trial, _, _ in has],
        hovertemplate=f"trial %{{customdata}}, {'%{text}' if scale.categories else '%{x}'}: %{{y}}<extra></extra>",
        marker={"size": 6, "opacity": 0.8, "color": [trial.number for trial, _, _ in has], "coloraxis": "coloraxis"},
    )
