"""How much each parameter matters."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.plots._data import part
from autoprune.plots._naming import labels
from autoprune.plots._style import BLUE, ROW, Theme, escape, figure, nothing
from autoprune.results.importance import FEWEST
from autoprune.results.models import Importance
from autoprune.search_space import unescaped

_TITLE = "Importance of parameters"
_MOST = 20


def importance(items: Sequence[Importance], theme: Theme = "light") -> go.Figure:
    """A bar for each parameter, the most important above; of many the first."""
    if not items:
        why = f"known once {FEWEST} trials have succeeded, and a parameter explains more of their values than chance"
        return nothing(_TITLE, why, theme)
    shown = sorted(items, key=lambda item: item.importance, reverse=True)[:_MOST]
    words = labels([item.name for item in items])
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [item.importance for item in shown],
        "y": list(range(len(shown))),
        "text": [f"{item.importance:.1%}" for item in shown],
        "customdata": [escape(unescaped(item.name)) for item in shown],
        "hovertemplate": "%{customdata}: %{text}<extra></extra>",
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": BLUE},
    }
    return figure(
        _TITLE,
        [bars],
        theme=theme,
        x="importance",
        notes=[part(len(shown), len(items), "parameters", "the most important")],
        height=120 + ROW * len(shown),
        margin_r=48,
        xaxis={"tickformat": ".0%", "range": [0, 1.15 * shown[0].importance]},
        yaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": [words[item.name] for item in shown],
            "autorange": "reversed",
        },
    )
