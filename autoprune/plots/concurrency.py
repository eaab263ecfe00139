"""How many trials ran at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from autoprune.plots._spans import Retried, spans
from autoprune.plots._style import BLUE, FAINT, Theme, figure, nothing, scatter, whole
from autoprune.records import timestamp
from autoprune.results.models import Trial

_TITLE = "Concurrency"
_SPANS = 300
_LEAST = 0.001
_UNITS = ((3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))


def concurrency(trials: Sequence[Trial], theme: Theme = "light", *, retried: Retried | None = None) -> go.Figure:
    """How many trials ran at a time: the mean of each of many equal spans.

    Between the attempts of a trial that was started more than once it does not run, where `retried` has them.
    """
    known = spans(trials, retried or {})
    if not known:
        return nothing(_TITLE, "no trial has started yet", theme)
    changes = sorted([*((span.start, 1) for span in known), *((span.end, -1) for span in known)])
    times = np.array([time for time, _ in changes])
    ends, counts = _means(times, np.cumsum([change for _, change in changes]))
    line = scatter(
        mode="lines",
        x=[timestamp(float(end)) for end in ends],
        y=[round(float(count), 3) for count in counts],
        line={"color": BLUE, "width": 1.5, "shape": "hv"},
        fill="tozeroy",
        fillcolor=FAINT,
        hovertemplate="%{x}: %{y}<extra></extra>",
    )
    return figure(
        _TITLE,
        [line],
        theme=theme,
        y="trials at a time",
        notes=[f"each step is the mean over {_lasting(float(ends[1] - ends[0]))}"],
        xaxis_type="date",
        yaxis={"rangemode": "tozero", **whole([0, *counts])},
    )


def _lasting(seconds: float) -> str:
    """A duration in the unit that suits it, to two digits."""
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{float(f'{seconds / size:.2g}'):g} {unit}"


def _means(times: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact: the area below the steps, at the ends of the spans."""
    area = np.concatenate([[0.0], np.cumsum(counts[:-1] * np.diff(times))])
    ends = np.linspace(times[0], max(times[-1], times[0] + _LEAST), _SPANS + 1)
    means = np.diff(np.interp(ends, times, area)) / np.diff(ends)
    return ends, np.append(means, 0.0)
