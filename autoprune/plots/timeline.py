"""When each trial ran."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.plots._data import part
from autoprune.plots._spans import Retried, Span, spans
from autoprune.plots._style import GREY, ROW, STATES, Theme, called, escape, figure, nothing
from autoprune.records import TrialState, timestamp
from autoprune.results.models import Trial

_TITLE = "Timeline"
_MOST = 1000


def timeline(trials: Sequence[Trial], theme: Theme = "light", *, retried: Retried | None = None) -> go.Figure:
    """A bar from the start of each trial to its end, coloured by its state; a trial takes the first row that is free.

    A trial that was started more than once has a bar for each of its attempts, where `retried` has them. Trials that
    run are drawn up to the latest time that is known. Of many bars the last are shown.
    """
    known = spans(trials, retried or {})
    if not known:
        return nothing(_TITLE, "no trial has started yet", theme)
    shown = known[-_MOST:]
    rows = _rows(shown)
    states = [state for state in TrialState if any(span.trial.state is state for span in shown)]
    return figure(
        _TITLE,
        [_bars(state, shown, rows) for state in states],
        theme=theme,
        notes=[part(len(shown), len(known), "attempts" if retried else "trials", "the last to start")],
        uniformtext={"minsize": 9, "mode": "hide"},
        barmode="overlay",
        bargap=0.15,
        height=140 + ROW * (max(rows) + 1),
        xaxis={"type": "date"},
        yaxis={"visible": False, "autorange": "reversed"},
        legend=True,
    )


def _rows(shown: Sequence[Span]) -> list[int]:
    """The first row that is free when each begins."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    rows: list[int] = []
    for span in shown:
        while busy and busy[0][0] <= span.start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        row = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (span.end, row))
        rows.append(row)
    return rows


def _bars(state: TrialState, shown: Sequence[Span], rows: Sequence[int]) -> dict[str, Any]:
    """Those of the trials in this state."""
    bars = [(span, row) for span, row in zip(shown, rows, strict=True) if span.trial.state is state]
    return {
        "type": "bar",
        "orientation": "h",
        "name": called(state),
        "base": [timestamp(span.start) for span, _ in bars],
        "x": [round(1000 * (span.end - span.start)) for span, _ in bars],
        "y": [row for _, row in bars],
        "text": [str(span.trial.number) for span, _ in bars],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "customdata": [f"{span.end - span.start:,.1f} s<br>{escape(span.message[:100])}" for span, _ in bars],
        "hovertemplate": "trial %{text}, %{base}: %{customdata}<extra></extra>",
        "marker": {"color": STATES[state][0], "line": {"width": 0.5, "color": GREY}},
    }
