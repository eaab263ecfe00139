"""What trials reported on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.plots._data import number as finite
from autoprune.plots._data import part, spread, too_far
from autoprune.plots._style import LINES, Theme, blend, figure, nothing, scatter, whole
from autoprune.results.models import Report

_TITLE = "Intermediate results"
_CURVES = 100
_POINTS = 200


def intermediate(curves: Mapping[int, Sequence[Report]], theme: Theme = "light", *, of: int | None = None) -> go.Figure:
    """A curve for each trial, by number: a few have colours of their own, of more the later are the stronger.

    A report without a value that can be drawn is a gap. Of many trials the newest are shown, of long curves points at
    even distances. `of` is how many trials there are where these are the newest of them.
    """
    known = {number: reports for number, reports in sorted(curves.items()) if _told(reports)}
    if not known:
        return nothing(_TITLE, "no intermediate results have been reported", theme)
    newest = list(known)[-_CURVES:]
    few = len(newest) <= len(LINES)
    looks = [(colour, 1.0) for colour in LINES] if few else [_look(place / len(newest)) for place in range(len(newest))]
    traces = [
        _curve(number, spread(known[number], _POINTS), *look) for number, look in zip(newest, looks, strict=False)
    ]
    longest = max(len(known[number]) for number in newest)
    return figure(
        _TITLE,
        traces,
        theme=theme,
        x="report",
        y="value",
        legend=few and len(newest) > 1,
        xaxis=whole(report.seq for number in newest for report in known[number]),
        notes=[
            part(len(newest), of or len(known), "trials", "the newest that reported on their way"),
            f"at most {_POINTS} reports of each are shown" if longest > _POINTS else "",
            too_far(report.value for each in newest for report in known[each]),
        ],
    )


def _told(reports: Sequence[Report]) -> bool:
    """Whether there is more than a result at the end."""
    return any(report.value is not None and not report.final for report in reports)


def _look(age: float) -> tuple[str, float]:
    """The colour and the strength of a curve among many."""
    return blend(age), 0.5 + 0.5 * age


def _curve(number: int, reports: Sequence[Report], colour: str, opacity: float) -> dict[str, Any]:
    """Points alone show where there is only one, and where the result is the final one."""
    return scatter(
        name=f"trial {number}",
        mode="lines+markers",
        x=[report.seq for report in reports],
        y=[finite(report.value) for report in reports],
        line={"color": colour, "width": 1.5},
        opacity=opacity,
        marker={"size": [6 if report.final or len(reports) == 1 else 0 for report in reports]},
        hovertemplate=f"trial {number}, report %{{x}}: %{{y}}<extra></extra>",
    )
