"""How long trials took."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import plotly.graph_objects as go

from autoprune.plots._style import GREY, STATES, Theme, called, figure, nothing, whole
from autoprune.records import TrialState
from autoprune.results.models import Trial

_TITLE = "Durations"
_BINS = 40


def duration(trials: Sequence[Trial], theme: Theme = "light") -> go.Figure:
    """How many of the trials that are over took how long, by their states, and the median of all."""
    known = [(trial.state, trial.duration) for trial in trials if trial.ended and trial.duration is not None]
    if not known:
        return nothing(_TITLE, "no trial is over yet", theme)
    taken = [seconds for _, seconds in known]
    middle = median(taken)
    edges = np.histogram_bin_edges(taken, min(_BINS, max(5, len(taken) // 3)))
    states = [state for state in TrialState if any(each is state for each, _ in known)]
    highest, _ = np.histogram(taken, edges)
    drawn = figure(
        _TITLE,
        [_bars(state, [seconds for each, seconds in known if each is state], edges) for state in states],
        theme=theme,
        x="seconds",
        y="trials",
        notes=[f"half of {len(known):,} trials took up to {middle:.4g} s, the dotted line" if len(known) > 1 else ""],
        xaxis_rangemode="tozero",
        yaxis=whole([0, *highest]),
        barmode="stack",
        bargap=0.03,
        legend=True,
    )
    return drawn.add_vline(middle, line={"dash": "dot", "width": 1.5, "color": GREY})


def _bars(state: TrialState, taken: Sequence[float], edges: np.ndarray) -> dict[str, Any]:
    counts, _ = np.histogram(taken, edges)
    return {
        "type": "bar",
        "name": called(state),
        "x": [float(middle) for middle in (edges[:-1] + edges[1:]) / 2],
        "width": float(edges[1] - edges[0]),
        "y": [int(count) for count in counts],
        "hovertemplate": "%{y} of about %{x:.4g} s<extra></extra>",
        "marker": {"color": STATES[state][0], "line": {"width": 0}},
    }
