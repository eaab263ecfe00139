"""Trials as lines through their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autoprune.plots._data import columns, part, ranked, spread, too_far, vary
from autoprune.plots._naming import labels
from autoprune.plots._scale import Scale
from autoprune.plots._style import BEST, Theme, blend, figure, nothing, scatter
from autoprune.records import JSON, OptimizeMode
from autoprune.results.layers import proportions
from autoprune.results.models import Trial

_TITLE = "Parallel coordinates"
_LINES = 200
_AXES = 16
_TICKS = 8


def parallel_coordinates(
    trials: Sequence[Trial],
    mode: OptimizeMode | str,
    theme: Theme = "light",
    *,
    of: int | None = None,
    facts: Mapping[str, JSON] | None = None,
) -> go.Figure:
    """A line for each trial that succeeded: through its parameters to its value; the better, the stronger.

    The best line is drawn on top. Parameters that are the same in all trials have no axis, and a line is broken where
    its trial has no such parameter. Of many trials those at even distances by rank are shown; of many parameters those
    whose ranks go most with those of the value. `of` is how many trials there are where these are a sample. With the
    `facts` of a task it says where sparsities are proportions.
    """
    every = ranked(trials, mode)
    shown = spread(every, _LINES)
    given = {path: values for path, values in columns(shown).items() if vary(values)}
    if not given:
        return nothing(_TITLE, "no two trials have succeeded with parameters that differ yet", theme)
    chosen = _telling(given)
    axes = [*(given[path] for path in chosen), [trial.value for trial in shown]]
    scales = [Scale.of(values) for values in axes]
    shares = [[_share(scale, value) for value in values] for scale, values in zip(scales, axes, strict=True)]
    names = [*labels(chosen).values(), "value"]
    return figure(
        _TITLE,
        [
            _line(trial, [column[place] for column in shares], len(shown) - 1 - place, len(shown))
            for place, trial in enumerate(shown)
        ],
        theme=theme,
        notes=[
            part(len(shown), of or len(every), "trials that succeeded and repeat no other", "evenly spread by rank"),
            part(len(chosen), len(given), "parameters, those that go most with the value"),
            too_far(trial.value for trial in trials),
            proportions(facts),
        ],
        height=460,
        xaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.2, len(chosen) + 0.5]},
        yaxis={"visible": False, "range": [-0.04, 1.04]},
        annotations=[tick for axis, scale in enumerate(scales) for tick in _ticks(axis, scale)],
    )


def _telling(given: Mapping[str, Sequence[JSON]]) -> list[str]:
    """In their own order those that go up or down with the rank of the trial, where there are very many."""
    if len(given) <= _AXES:
        return list(given)
    scores = {path: _goes_with_rank(values) for path, values in given.items()}
    chosen = set(sorted(given, key=lambda path: -scores[path])[:_AXES])
    return [path for path in given if path in chosen]


def _goes_with_rank(values: Sequence[JSON]) -> float:
    """Spearman's correlation, without its sign; trials are given by their rank."""
    from scipy.stats import spearmanr

    scale = Scale.of(values)
    has = [(place, here) for place, value in enumerate(values) if (here := scale.place(value)) is not None]
    if len({here for _, here in has}) < 2:
        return 0.0
    return abs(float(spearmanr(*zip(*has, strict=True)).statistic))


def _line(trial: Trial, shares: Sequence[float | None], rank: int, count: int) -> dict[str, Any]:
    """The best has rank 0. Where there are few lines, the worst of them are seen as well."""
    is_best, good = rank == 0, 1 - rank / count
    faintest = min(0.5, max(0.1, 10 / count))
    return scatter(
        name=f"trial {trial.number}",
        mode="lines",
        x=list(range(len(shares))),
        y=list(shares),
        line={"color": BEST if is_best else blend(good), "width": 3 if is_best else 1.2},
        opacity=1.0 if is_best else faintest + (0.8 - faintest) * good**3,
        hovertemplate=f"trial {trial.number}: {trial.value:.6g}{' (best)' if is_best else ''}<extra></extra>",
    )


def _share(scale: Scale, value: JSON) -> float | None:
    place = scale.place(value)
    return None if place is None else round(scale.share(place), 4)


def _ticks(axis: int, scale: Scale) -> list[dict[str, Any]]:
    """The ends of an axis, or some of its categories, beside it."""
    look = {"showarrow": False, "xanchor": "left", "xshift": 3, "font": {"size": 10}}
    ticks = spread(list(scale.ticks().items()), _TICKS)
    return [{**look, "x": axis, "y": scale.share(place), "text": text} for place, text in ticks]
