"""How a task's model stands the loss of parts of one layer, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.plots._data import number, part, spread, too_far, written
from autoprune.plots._style import DASHES, GREY, LINES, Theme, figure, labels, nothing, scatter
from autoprune.protocol import DEFAULT
from autoprune.records import JSON

_TITLE = "Sensitivity of layers"
_MOST = 60


def sensitivity(facts: Mapping[str, JSON], theme: Theme = "light") -> go.Figure:
    """A curve for each group of layers: the value of the model where that group alone has this sparsity.

    The dotted line is the dense model. With several pruners, each curve tells its own. Of very many curves those at
    even distances are shown.
    """
    curves = facts["curves"]
    if not curves:
        return nothing(_TITLE, "no layer of this model was tried alone", theme)
    shown = spread(curves, _MOST)
    several = len({curve["pruner"] for curve in curves}) > 1
    names = [f"{curve['group']} ({curve['pruner']})" if several else str(curve["group"]) for curve in shown]
    words = labels(names, 40)
    dense = number(facts["dense"].get(DEFAULT))
    lines = [
        _line(words[name], curve, place, dense) for place, (name, curve) in enumerate(zip(names, shown, strict=True))
    ]
    drawn = figure(
        _TITLE,
        lines,
        theme=theme,
        x="sparsity of one group of layers",
        y="value without training",
        notes=[
            part(len(shown), len(curves), "curves", "evenly spread"),
            "" if dense is None else f"the dotted line is the dense model, {written(dense)}",
            too_far(value for curve in shown for value in curve["values"]),
        ],
        xaxis={"tickformat": ".0%", "rangemode": "tozero"},
        showlegend=True,
        legend_orientation="v",
        legend_x=1.01,
        legend_y=1,
        legend_yanchor="top",
        height=460,
    )
    return drawn if dense is None else drawn.add_hline(dense, line={"dash": "dot", "width": 1.5, "color": GREY})


def _line(name: str, curve: Mapping[str, Any], place: int, dense: float | None) -> dict[str, Any]:
    """From the dense model on, where its value is known."""
    start: Sequence[tuple[float, float]] = [] if dense is None else [(0.0, dense)]
    points = [*start, *zip(curve["sparsities"], curve["values"], strict=True)]
    return scatter(
        name=name,
        mode="lines+markers",
        x=[sparsity for sparsity, _ in points],
        y=[number(value) for _, value in points],
        line={"color": LINES[place % len(LINES)], "dash": DASHES[place // len(LINES) % len(DASHES)], "width": 1.8},
        marker={"size": 5},
        hovertemplate=f"{name} at %{{x:.1%}}: %{{y}}<extra></extra>",
    )
