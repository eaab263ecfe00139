"""Values that are too far from zero for a browser to draw: they are left out, and the figure says so."""

from __future__ import annotations

from collections.abc import Iterator

import plotly.graph_objects as go
import pytest

from autoprune import plots
from autoprune.records import JSON
from tests.plots.made import facts, names, note, plain, report, trial

FAR = 1e308
TRIALS = [trial(0, 0.5, metrics={"macs": 5}), trial(1, FAR, metrics={"macs": 7}), trial(2, 0.25, metrics={"macs": 2})]


def numbers(tree: JSON) -> Iterator[float]:
    if isinstance(tree, int | float):
        yield tree
    for each in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from numbers(each)


FIGURES = {
    "history": plots.history(TRIALS, "maximize"),
    "pareto": plots.pareto(TRIALS, plots.front(TRIALS, "macs", "maximize"), "macs", "maximize"),
    "slices": plots.slices(TRIALS, names(TRIALS)),
    "parallel_coordinates": plots.parallel_coordinates(TRIALS, "maximize"),
    "intermediate": plots.intermediate({0: [report(0.5), report(-FAR, 1), report(0.25, 2)]}),
    "sensitivity": plots.sensitivity(
        facts(curves=[{"pruner": "l1", "group": "conv", "sparsities": [0.5, 0.9], "values": [0.8, FAR]}])
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_they_are_left_out_and_told(name: str) -> None:
    figure = FIGURES[name]
    assert "1 value is too far from zero to be drawn" in note(figure)
    assert max(map(abs, numbers(plain(figure)["data"]))) < 1e300
    assert figure.data


def test_the_history_has_such_a_trial_below_with_its_value() -> None:
    below = next(each for each in FIGURES["history"].data if each.yaxis == "y2")
    assert (list(below.x), list(below.text)) == ([1], ["<br>1e+308"])


def test_a_cost_that_is_too_far_counts_as_well() -> None:
    figure: go.Figure = plots.pareto([*TRIALS, trial(3, 0.5, metrics={"macs": -FAR})], [0], "macs", "maximize")
    assert "2 values are too far from zero to be drawn" in note(figure)
