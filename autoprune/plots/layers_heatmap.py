"""The sparsity of each layer over trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

import plotly.graph_objects as go

from autoprune.plots._data import number, part, spread
from autoprune.plots._style import ROW, Theme, figure, labels, nothing, whole
from autoprune.results.export import leaves
from autoprune.results.layers import layers_of
from autoprune.results.models import Trial
from autoprune.search_space import unescaped

_TITLE = "Sparsity of layers"
_TRIALS = 250
_LAYERS = 150
_ENDING = "_sparsity"


def layers_heatmap(trials: Sequence[Trial], theme: Theme = "light", *, of: int | None = None) -> go.Figure:
    """A row for each layer, a column for each trial: the sparsities that it reports, or where none does, asks for.

    The column of a trial that tells nothing is empty. Of many trials, and of very many layers, those at even distances
    are shown. `of` is how many trials there are where these are a sample.
    """
    told = [trial for trial in trials if isinstance(trial.metrics.get("layers"), Mapping)]
    known = sorted(told or [trial for trial in trials if _requested(trial)], key=attrgetter("number"))
    if not known:
        return nothing(_TITLE, "no trial has told the sparsity of its layers yet", theme)
    shown = spread(known, _TRIALS)
    shares = {trial.number: _achieved(trial) if told else _requested(trial) for trial in shown}
    every = list(dict.fromkeys(layer for column in shares.values() for layer in column))
    layers = spread(every, _LAYERS)
    places = list(range(len(layers)))
    across = _across(list(shares))
    cells = {
        "type": "heatmap",
        "x": list(across),
        "y": places,
        "z": [_row(layer, [shares.get(each, {}) for each in across]) for layer in layers],
        "coloraxis": "coloraxis",
        "hovertemplate": "trial %{x}, %{y}: %{z:.2%}<extra></extra>",
        "xgap": 1 if len(across) <= 60 else 0,
        "ygap": 1,
    }
    return figure(
        _TITLE,
        [cells],
        theme=theme,
        x="trial",
        notes=[
            "" if told else "as the parameters ask: no trial tells what became of it",
            part(len(shown), of or len(known), "trials", "evenly spread"),
            part(len(layers), len(every), "layers", "evenly spread"),
        ],
        height=130 + max(200, ROW * min(len(layers), 30), 8 * len(layers)),
        xaxis=whole(across),
        yaxis={"tickvals": places, "ticktext": list(labels(layers).values()), "autorange": "reversed"},
        coloraxis={"colorscale": "Cividis_r", "cmin": 0, "cmax": 1, "colorbar": {"tickformat": ".0%"}},
    )


def _across(shown: Sequence[int]) -> Sequence[int]:
    """A place for each trial from the first to the last, unless they are too many."""
    every = range(shown[0], shown[-1] + 1)
    return every if len(every) <= _TRIALS else shown


def _row(layer: str, columns: Sequence[Mapping[str, float]]) -> list[float | None]:
    return [None if layer not in shares else round(shares[layer], 4) for shares in columns]


def _achieved(trial: Trial) -> dict[str, float]:
    """As the trial reports it."""
    layers = layers_of(trial.metrics) or []
    return {layer.layer: layer.achieved for layer in layers if layer.achieved is not None}


def _requested(trial: Trial) -> dict[str, float]:
    """As its parameters ask, by their names."""
    asked = {unescaped(path.rpartition("/")[2]): number(value) for path, value in leaves(trial.parameters)}
    return {
        name.removesuffix(_ENDING): share
        for name, share in asked.items()
        if share is not None and name.endswith(_ENDING)
    }
