"""The layers of one trial: what was asked for, and what came of it."""

from __future__ import annotations

import plotly.graph_objects as go

from autoprune.plots._data import part, written
from autoprune.plots._style import BEST, BLUE, ROW, Theme, escape, figure, labels, nothing, scatter
from autoprune.results.layers import layers_of
from autoprune.results.models import LayerResult, Trial, TrialDetail

_MOST = 200


def layer_bars(trial: Trial, theme: Theme = "light") -> go.Figure:
    """A bar for the sparsity that each layer has, and a stroke at what was asked of it, where the trial reports that.

    Of very many layers the first are shown.
    """
    title = f"Layers of trial {trial.number}"
    detailed = trial.layers if isinstance(trial, TrialDetail) else None
    every = detailed or layers_of(trial.metrics) or []
    if not every:
        return nothing(title, "this trial tells no sparsity of layers", theme)
    layers = every[:_MOST]
    places = list(range(len(layers)))
    bars = {
        "type": "bar",
        "name": "achieved",
        "orientation": "h",
        "x": [layer.achieved for layer in layers],
        "y": places,
        "customdata": [f"{escape(layer.layer)}{_kept(layer)}" for layer in layers],
        "hovertemplate": "%{customdata}: %{x:.2%}<extra>achieved</extra>",
        "marker": {"color": BLUE},
    }
    strokes = scatter(
        name="requested",
        mode="markers",
        x=[layer.requested for layer in layers],
        y=places,
        customdata=[escape(layer.layer) for layer in layers],
        hovertemplate="%{customdata}: %{x:.2%}<extra>requested</extra>",
        marker={"symbol": "line-ns", "size": 16, "line": {"width": 3, "color": BEST}},
    )
    return figure(
        title,
        [bars, strokes],
        theme=theme,
        x="sparsity",
        notes=[part(len(layers), len(every), "layers", "the first")],
        legend=True,
        height=140 + ROW * len(layers),
        bargap=0.3,
        xaxis={"range": [0, 1.01], "tickformat": ".0%"},
        yaxis={
            "tickvals": places,
            "ticktext": list(labels(layer.layer for layer in layers).values()),
            "autorange": "reversed",
        },
    )


def _kept(layer: LayerResult) -> str:
    """How much of how much is there still, where the trial tells."""
    return "" if layer.kept is None or layer.of is None else f", {written(layer.kept)} of {written(layer.of)} kept"
