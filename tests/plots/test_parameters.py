"""The figures of parameters: parallel coordinates, importance and slices."""

from __future__ import annotations

from itertools import pairwise

import pytest

from autoprune import plots
from autoprune.records import JSON
from autoprune.results.importance import FEWEST
from autoprune.results.models import Importance
from tests.plots.made import facts, names, note, plain, trial

PARAMETERS: list[dict[str, JSON]] = [
    {"x": 1.0, "same": 3, "m": {"_name": "b", "s": 0.2}},
    {"x": 2.0, "same": 3, "m": {"_name": "c", "s": 0.4}},
    {"x": 5.0, "same": 3, "m": {"_name": "a"}},
]


def test_a_line_goes_through_the_parameters_to_the_value() -> None:
    values = [0.1, 0.9, 0.5]
    made = [trial(number, values[number], parameters=given) for number, given in enumerate(PARAMETERS)]
    figure = plain(plots.parallel_coordinates(made, "maximize"))
    assert figure["layout"]["xaxis"]["ticktext"] == ["x", "m", "s", "value"]
    places = {
        text: y for tick in figure["layout"]["annotations"] if tick["x"] == 1 for text, y in [(tick["text"], tick["y"])]
    }
    assert sorted(places.values()) == [0.0, 0.5, 1.0]
    assert [(line["name"], line["y"]) for line in figure["data"]] == [
        ("trial 0", [0.0, places["b"], 0.0, 0.0]),
        ("trial 2", [1.0, places["a"], None, 0.5]),
        ("trial 1", [0.25, places["c"], 1.0, 1.0]),
    ]
    ends = [(tick["text"], tick["y"]) for tick in figure["layout"]["annotations"] if tick["x"] == 0]
    assert ends == [("1", 0.0), ("5", 1.0)]


@pytest.mark.parametrize(("mode", "best"), [("maximize", 2), ("minimize", 0)])
def test_the_best_line_is_on_top(mode: str, best: int) -> None:
    made = [trial(number, number / 10) for number in range(3)]
    made += [trial(3, 9.0, feasible=False), trial(4, 9.0, repeat_of=0), trial(5, -9.0, state="EARLY_STOPPED")]
    figure = plots.parallel_coordinates(made, mode)
    assert {line.name for line in figure.data} == {"trial 0", "trial 1", "trial 2"}
    assert figure.data[-1].name == f"trial {best}"
    assert figure.data[-1].line.width == max(line.line.width for line in figure.data)


def test_parameters_over_powers_of_ten_have_a_logarithmic_axis() -> None:
    made = [trial(place, 0.1 * place, parameters={"rate": rate}) for place, rate in enumerate([1e-4, 1e-3, 1e-2])]
    assert [line.y[0] for line in plots.parallel_coordinates(made, "maximize").data] == [0.0, 0.5, 1.0]


def test_of_many_trials_the_lines_are_at_even_ranks() -> None:
    made = [trial(number, float(number % 1000)) for number in range(1000)]
    figure = plots.parallel_coordinates(made, "maximize")
    shown = [int(line.name.split()[1]) for line in figure.data]
    assert (len(shown), shown[0], shown[-1]) == (200, 0, 999)
    assert all(4 <= later - earlier <= 6 for earlier, later in pairwise(shown))
    assert note(figure).startswith("200 of 1,000 trials")


def test_sparsities_that_a_budget_scales_are_called_proportions() -> None:
    made = [trial(number, number / 10) for number in range(3)]
    for facts_of, said in [(None, False), (facts(), False), (facts(budget={"kind": "macs", "limit": 5}), True)]:
        for figure in (
            plots.parallel_coordinates(made, "maximize", facts=facts_of),
            plots.slices(made, ["x"], facts=facts_of),
        ):
            assert ("sparsities are proportions, which each trial scales to the budget" in note(figure)) is said


def test_a_sample_says_of_how_many_trials_it_is() -> None:
    made = [trial(number, number / 10, metrics={"layers": {"conv": {"sparsity": 0.5}}}) for number in range(3)]
    for figure in (
        plots.parallel_coordinates(made, "maximize", of=5000),
        plots.slices(made, ["x"], of=5000),
        plots.layers_heatmap(made, of=5000),
    ):
        assert note(figure).startswith("3 of 5,000 trials")


def test_of_many_parameters_those_that_go_with_the_value_are_shown() -> None:
    """Noise goes around in steps that the value does not know."""
    made = [
        trial(number, number / 10, parameters={**{f"n{place}": (number * 37 + place) % 41 for place in range(30)},
                                               "with": number, "against": -number})
        for number in range(40)
    ]  # fmt: skip
    shown = plots.parallel_coordinates(made, "maximize").layout.xaxis.ticktext
    assert len(shown) == 17
    assert shown[-3:] == ("with", "against", "value")


def test_numbers_that_a_figure_cannot_hold_are_categories() -> None:
    made = [trial(place, 0.1 * place, parameters={"huge": huge}) for place, huge in enumerate([10**400, 1, True])]
    assert len(plots.parallel_coordinates(made, "maximize").data) == 3
    assert len(plots.slices(made, ["huge"]).data[0].x) == 3


def test_the_most_important_parameter_is_above() -> None:
    weights = {"m/a/s": 0.2, "x": 0.5, "m/b/s": 0.3}
    figure = plots.importance([Importance(name=name, importance=share) for name, share in weights.items()])
    bars = figure.data[0]
    assert list(bars.x) == [0.5, 0.3, 0.2]
    assert list(figure.layout.yaxis.ticktext) == ["x", "b/s", "a/s"]
    assert figure.layout.yaxis.autorange == "reversed"
    assert list(bars.text) == ["50.0%", "30.0%", "20.0%"]


def test_names_are_as_they_were_given_and_told_apart() -> None:
    given: list[dict[str, JSON]] = [
        {"a/lr": 1, "b/lr": 2, "x <b>y</b>": 3, "n~1": 4, "m": {"_name": "in/out", "q/r": place}, "o": {"s": 5}}
        for place in range(2)
    ]
    made = [trial(place, place / 10, parameters=each) for place, each in enumerate(given)]
    paths = names(made)
    figure = plots.importance([Importance(name=path, importance=1 / len(paths)) for path in paths])
    words = ["a/lr", "b/lr", "x &lt;b&gt;y&lt;/b&gt;", "n~1", "m", "q/r", "s"]
    assert list(figure.layout.yaxis.ticktext) == words
    assert figure.data[0].customdata[5] == "m/in/out/q/r"
    assert plots.slices(made, paths).layout.xaxis.title.text == "q/r"


def test_a_name_that_reads_like_a_path_is_in_quotes() -> None:
    paths = names([trial(0, 0.1, parameters={"a/lr": 1, "a": {"lr": 2}, "b": {"lr": 3}})])
    figure = plots.importance([Importance(name=path, importance=1 / 3) for path in paths])
    assert list(figure.layout.yaxis.ticktext) == ['"a/lr"', "a/lr", "b/lr"]


def test_slices_have_a_panel_for_each_parameter_that_differs() -> None:
    values = [0.1, 0.9, 0.5]
    made = [trial(number, values[number], parameters=given) for number, given in enumerate(PARAMETERS)]
    figure = plots.slices(made, ["m", "x", "same", "nothing", "x"])
    layout = figure.layout
    assert [axis.title.text for axis in (layout.xaxis, layout.xaxis2)] == ["m", "x"]
    kinds, numbers = figure.data
    assert [layout.xaxis.ticktext[int(place)] for place in kinds.x] == ["b", "c", "a"]
    assert (list(numbers.x), list(numbers.y), list(numbers.customdata)) == ([1.0, 2.0, 5.0], values, [0, 1, 2])


def test_a_slice_has_the_trials_that_have_its_parameter() -> None:
    made = [trial(number, 0.5, parameters=given) for number, given in enumerate(PARAMETERS[:2])]
    made += [trial(2, 0.6, parameters={"m": {"_name": "b", "s": 0.3}})]
    (panel,) = plots.slices(made, ["m/b/s", "m/c/s"]).data
    assert (list(panel.customdata), list(panel.x)) == ([0, 2], [0.2, 0.3])


def test_without_importance_the_figure_says_what_it_takes() -> None:
    (words,) = plots.importance([]).layout.annotations
    why = f"known once {FEWEST} trials have succeeded, and a parameter explains more of their values than chance"
    assert words.text.replace("<br>", " ") == why
    assert max(len(line) for line in words.text.split("<br>")) < 50, "a narrow figure has room for each"
