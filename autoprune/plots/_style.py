"""How figures look, and the one place where text becomes text of a figure.

The colours are those of Okabe and Ito, which people tell apart whatever colours they see; the blue is lighter, so that
each stands out from a light and from a dark page. All that depends on the page is in the template: a figure goes from
light to dark when another one is put in.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any, Literal, TypeAlias

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from autoprune.records import TrialState

Theme: TypeAlias = Literal["light", "dark"]

BLUE, VERMILION, GREEN = "#1F83C2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY, GREY = "#E69F00", "#CC79A7", "#56B4E9", "#8A8F98"
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""For lines beside each other, which differ in their dashes from the seventh on."""

DASHES = ("solid", "dash", "dot", "dashdot")
BEST = VERMILION
FAINT = "rgba(31,131,194,0.25)"

STATES: Mapping[TrialState, tuple[str, str]] = {
    TrialState.SUCCEEDED: (BLUE, "circle"),
    TrialState.EARLY_STOPPED: (ORANGE, "triangle-down"),
    TrialState.FAILED: (VERMILION, "x"),
    TrialState.INVALID: (PURPLE, "cross"),
    TrialState.USER_CANCELED: (GREY, "square"),
    TrialState.RUNNING: (GREEN, "diamond"),
    TrialState.WAITING: (SKY, "circle-open"),
}
"""The colour and the sign of a trial, so that neither alone has to tell its state."""

RISING = [[0, "#A6B1BC"], [0.5, "#5FA3CF"], [1, BLUE]]
"""Colours from little to much, or from worse to better."""

CONFIG: Mapping[str, Any] = {"displayModeBar": False, "responsive": True}
"""What to give Plotly beside a figure, in a page of one's own."""

_INKS = {"light": ("#1f2328", "#d8dce2", "#ffffff"), "dark": ("#e6e8eb", "#3a4048", "#22262c")}
_CLEAR = "rgba(0,0,0,0)"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
_SCALE = {"thickness": 10, "outlinewidth": 0, "lenmode": "pixels", "len": 200, "y": 1, "yanchor": "top"}
_LONGEST = 28
_LINE = 36
_HEIGHT = 400
_TITLE, _NOTE, _LEGEND, _ABOVE = 24, 16, 26, 24
"""Heights above the axes, in pixels: of a title, of a line below it, of the legend, and of what is free."""

_FEW = 10

ROW = 24
"""The height of a bar that lies, in pixels."""

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;", "$": "&#36;"})


def escape(text: str) -> str:
    """Text that a figure shows as it is written.

    Plotly reads labels as HTML of a kind, `%{...}` in hover texts as a place to fill in, and `$` as the beginning of a
    formula.
    """
    return "".join(letter if letter.isprintable() else " " for letter in text).translate(_ENTITIES)


def label(text: str, longest: int = _LONGEST) -> str:
    """The same of a name that may be too long: its end tells more than its beginning."""
    return escape(text if len(text) <= longest else f"…{text[1 - longest :]}")


def labels(texts: Iterable[str], longest: int = _LONGEST) -> dict[str, str]:
    """Labels of texts that stand beside each other: of those that end alike, the last word that differs is left too."""
    given = {text: text[::-1] for text in texts}
    ends = sorted(given.values())
    needed = dict.fromkeys(ends, longest)
    for one, other in pairwise(ends):
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        for end in (one, other):
            word = sum(1 for _ in takewhile(str.isalnum, end[shared:]))
            needed[end] = max(needed[end], shared + max(word, 1) + 1)
    return {text: label(text, needed[end]) for text, end in given.items()}


def called(state: TrialState) -> str:
    """A state in words."""
    return state.lower().replace("_", " ")


def template(theme: Theme = "light") -> go.layout.Template:
    """Ink, lines and backgrounds for a light or a dark page."""
    ink, line, paper = _INKS[theme]
    axis = {
        "gridcolor": line,
        "linecolor": line,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 12, "font": {"size": 13}},
    }
    return go.layout.Template(
        layout={
            "font": {"family": _FONT, "size": 12, "color": ink},
            "title": {
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"l": 12, "t": 12},
                "font": {"size": 16},
            },
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "margin": {"l": 60, "r": 24, "b": 48},
            "colorway": list(LINES),
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "bgcolor": _CLEAR},
            "hoverlabel": {"bgcolor": paper, "bordercolor": line, "font": {"color": ink}, "align": "left"},
            "hovermode": "closest",
            "coloraxis": {"colorbar": {**_SCALE, "title": {"side": "right"}}},
            "colorscale": {"sequential": RISING},
            "modebar": {"bgcolor": _CLEAR, "color": line, "activecolor": ink},
        }
    )


def figure(
    title: str,
    traces: Sequence[Any],
    *,
    theme: Theme,
    x: str = "",
    y: str = "",
    notes: Sequence[str] = (),
    legend: bool = False,
    **layout: Any,
) -> go.Figure:
    """A figure of these traces. The notes, such as what was left out, stand below its title, a line each; all text is
    escaped."""
    said = [escape(note) for note in notes if note]
    drawn = go.Figure(
        data=list(traces),
        layout={
            "template": template(theme),
            "height": _HEIGHT,
            "margin": {"t": _ABOVE + _TITLE + _NOTE * len(said) + (_LEGEND if legend else 0)},
            "showlegend": legend,
            "title": {"text": escape(title), "subtitle": {"text": "<br>".join(said)}},
            "xaxis": {"title": {"text": escape(x)}},
            "yaxis": {"title": {"text": escape(y)}},
        },
    )
    return drawn.update_layout(**layout)


def untitle(drawn: go.Figure) -> str:
    """Take the title off a figure, for a page that has its own, and the notes below it, which are returned as text."""
    notes = [html.unescape(note) for note in drawn.layout.title.subtitle.text.split("<br>") if note]
    drawn.update_layout(title=None, margin_t=drawn.layout.margin.t - _TITLE - _NOTE * len(notes))
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)


def nothing(title: str, why: str, theme: Theme) -> go.Figure:
    """A figure that says why there is nothing in it yet."""
    lines = "<br>".join(escape(line) for line in textwrap.wrap(why, _LINE, break_long_words=False))
    words = {"text": lines, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    hidden = {"visible": False}
    return figure(title, [], theme=theme, annotations=[{**words, "font": {"size": 14}}], height=220).update_layout(
        xaxis=hidden, yaxis=hidden, margin={"l": 12, "r": 12}
    )


def whole(values: Iterable[float]) -> dict[str, Any]:
    """The ticks of an axis of trials, or of how many: whole numbers only. For many, Plotly chooses no others."""
    given = list(values)
    low, high = math.floor(min(given)), math.ceil(max(given))
    return {"tickvals": list(range(low, high + 1))} if high - low <= _FEW else {}


def scatter(**given: Any) -> dict[str, Any]:
    """A scatter trace as SVG draws it: no WebGL, which needs code that a page may not run."""
    return {"type": "scatter", "hoverlabel": {"namelength": -1}, **given}


def blend(share: float) -> str:
    """The colour of `RISING` at this share, as `rgb(...)`."""
    return str(sample_colorscale(RISING, [min(max(share, 0.0), 1.0)])[0])
