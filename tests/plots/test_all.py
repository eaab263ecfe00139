"""What holds for every figure: nothing, one trial, very many, and whatever people write into names and messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import plotly.graph_objects as go
import pytest

from autoprune import plots
from autoprune.records import JSON
from tests.plots.made import facts, figures, many, note, plain, trial

FIGURES = sorted(figures([trial()]))
HOSTILE = "<b>&lt;</b><a href='javascript:alert(1)'>%{x}$y$</a><extra>"
WRITTEN = "&lt;b&gt;&amp;lt;&lt;/b&gt;&lt;a href='javascript:alert(1)'&gt;&#37;{x}&#36;y&#36;&lt;/a&gt;&lt;extra&gt;"
MOST_BYTES = 1_500_000


def texts(tree: JSON) -> Iterator[str]:
    """Every text in a figure."""
    if isinstance(tree, str):
        yield tree
    for each in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from texts(each)


def hostile() -> dict[str, Callable[[], go.Figure]]:
    layers = {HOSTILE: {"sparsity": 0.5, "kept": 1, "of": 2}}
    parameters = {HOSTILE: HOSTILE, f"{HOSTILE}_sparsity": 0.25, HOSTILE * 2: {"_name": HOSTILE, HOSTILE: [HOSTILE]}}
    common = {"metrics": {"layers": layers, "macs": 7, HOSTILE: 3}, "message": HOSTILE, "origin": HOSTILE}
    good = [trial(0, 0.5, parameters=parameters, **common), trial(1, 0.6, parameters={HOSTILE: "other"}, **common)]
    bad = trial(2, state="FAILED", **common)
    drawn = figures([*good, bad])
    return {
        **drawn,
        "pareto": lambda: plots.pareto(good, [0], HOSTILE, "maximize"),
        "pareto of nothing": lambda: plots.pareto([], [], HOSTILE, "maximize"),
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_without_trials_a_figure_says_that_there_is_nothing_yet(theme: plots.Theme) -> None:
    for name, draw in figures([], theme).items():
        figure = draw()
        assert not figure.data, name
        assert figure.layout.annotations[0].text, name


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("state", ["SUCCEEDED", "WAITING", "RUNNING", "FAILED"])
def test_one_trial_is_enough(name: str, state: str) -> None:
    value = 0.5 if state == "SUCCEEDED" else None
    times = {"WAITING": {"started": None, "ended": None}, "RUNNING": {"ended": None}}.get(state, {})
    only = trial(0, value, state, metrics={"macs": 5, "layers": {"conv": {"sparsity": 0.5}}} if value else {}, **times)
    figure = figures([only])[name]()
    assert figure.layout.title.text
    if state == "SUCCEEDED" and name not in ("parallel_coordinates", "slices"):
        assert plain(figure)["data"]


@pytest.mark.slow
def test_very_many_trials_are_drawn_in_part_and_it_says_so() -> None:
    for name, draw in figures(many(10_000, 50)).items():
        figure = draw()
        assert len(figure.to_json()) < MOST_BYTES, name
        assert {trace.type for trace in figure.data} <= {"scatter", "bar", "heatmap"}, name
        if name in ("history", "parallel_coordinates", "timeline", "pareto", "layers_heatmap", "slices"):
            assert re.search(r"[0-9,]+ of [0-9]+,[0-9]+ trials", note(figure)), name
        if name in ("importance", "parallel_coordinates", "slices"):
            assert re.search(r"[0-9]+ of [0-9]+ parameters", note(figure)), name


@pytest.mark.parametrize("name", sorted(hostile()))
def test_what_people_write_is_shown_as_it_is_written(name: str) -> None:
    figure = hostile()[name]()
    for text in texts(plain(figure)):
        rest = re.sub(r"<extra>[^<]*</extra>|<br>", "", text)
        assert "<" not in rest, text
        assert "$" not in rest, text


@pytest.mark.parametrize("name", ["history", "importance", "timeline", "pareto", "layer_bars", "pareto of nothing"])
def test_and_all_of_it_is_shown(name: str) -> None:
    assert any(WRITTEN in text.replace("<br>", " ") for text in texts(plain(hostile()[name]())))


def test_a_long_name_is_told_by_its_end() -> None:
    long = "features." * 20 + "conv"
    figure = plots.sensitivity(facts(curves=[{"pruner": "l1", "group": long, "sparsities": [0.5], "values": [1.0]}]))
    assert figure.data[0].name.endswith("features.conv")
    assert len(figure.data[0].name) <= 40


@pytest.mark.parametrize("name", FIGURES)
def test_light_and_dark_differ_in_the_template_alone(name: str) -> None:
    trials = many(30, 5)
    light, dark = (plain(figures(trials, theme)[name]()) for theme in ("light", "dark"))
    templates = [figure["layout"].pop("template") for figure in (light, dark)]
    assert light == dark
    assert templates[0] != templates[1]
    assert {template["layout"]["paper_bgcolor"] for template in templates} == {"rgba(0,0,0,0)"}


def test_figures_take_what_experiments_give() -> None:
    with pytest.raises(ValueError, match="'max' is not a valid"):
        plots.history([trial(0, 0.5)], "max")
