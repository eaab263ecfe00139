"""The figures of layers: over trials, of one trial, and how sensitive they are."""

from __future__ import annotations

from typing import Any

from autoprune import plots
from autoprune.records import JSON
from autoprune.results.models import LayerResult, TrialDetail
from tests.plots.made import facts, note, plain, trace, trial


def layers(**shares: float) -> dict[str, JSON]:
    return {"layers": {name: {"sparsity": share, "kept": 1, "of": 4} for name, share in shares.items()}}


def cells(figure: Any) -> dict[str, dict[str, float | None]]:
    """By layer and trial."""
    told, names = plain(figure)["data"][0], figure.layout.yaxis.ticktext
    return {name: dict(zip(told["x"], row, strict=True)) for name, row in zip(names, told["z"], strict=True)}


def test_the_heatmap_has_what_trials_achieved() -> None:
    made = [trial(5, 0.1, metrics=layers(a=0.1, b=0.2)), trial(2, 0.1, metrics=layers(b=0.3)), trial(3, 0.1)]
    figure = plots.layers_heatmap(made)
    assert cells(figure) == {"b": {2: 0.3, 3: None, 4: None, 5: 0.2}, "a": {2: None, 3: None, 4: None, 5: 0.1}}
    assert note(figure) == ""


def test_else_it_has_what_their_parameters_ask() -> None:
    made = [trial(0, 0.1, parameters={"m": {"_name": "l1", "a/b_sparsity": 0.1, "rate": 3}}), trial(1, parameters={})]
    figure = plots.layers_heatmap(made)
    assert cells(figure) == {"a/b": {0: 0.1}}
    assert note(figure) == "as the parameters ask: no trial tells what became of it"


def test_layers_whose_long_names_end_alike_are_told_apart() -> None:
    ending = "attention.output.dense.weight"
    made = [trial(0, 0.1, metrics=layers(**{f"encoder.layer.{place}.{ending}": 0.5 for place in (0, 10, 11)}))]
    expected = [f"…{place}.{ending}" for place in (".0", "10", "11")]
    assert list(plots.layers_heatmap(made).layout.yaxis.ticktext) == expected
    assert list(plots.layer_bars(made[0]).layout.yaxis.ticktext) == expected


def test_a_trial_of_a_task_has_bars_of_what_it_got_and_strokes_of_what_was_asked() -> None:
    asked = {"prune_method": {"_name": "l1", "conv_sparsity": 0.5, "other_sparsity": 0.25}}
    told: dict[str, Any] = layers(conv=0.75, shortcut=0.7, other=0.1)
    told["layers"]["conv"]["requested"] = told["layers"]["shortcut"]["requested"] = 0.7
    made = trial(3, 0.9, parameters=asked, metrics=told)
    figure = plots.layer_bars(made)
    assert list(figure.layout.yaxis.ticktext) == ["conv", "shortcut", "other"]
    bars, strokes = trace(figure, "achieved"), trace(figure, "requested")
    assert bars["x"] == [0.75, 0.7, 0.1]
    assert strokes["x"] == [0.7, 0.7, None]
    assert bars["customdata"][0] == "conv, 1 of 4 kept"


def test_the_details_of_a_trial_tell_its_layers() -> None:
    told = LayerResult(layer="deep", requested=0.25, achieved=0.5, kept=2, of=4)
    made = TrialDetail(**dict(trial(0, 0.9)), created=None, runs=[], cost=None, layers=[told])
    figure = plots.layer_bars(made)
    assert (trace(figure, "achieved")["x"], trace(figure, "requested")["x"]) == ([0.5], [0.25])


def test_a_curve_begins_with_the_dense_model() -> None:
    figure = plots.sensitivity(facts())
    (line,) = figure.data
    assert (line.name, list(line.x), list(line.y)) == ("conv", [0.0, 0.5, 0.9], [0.9, 0.8, None])
    assert figure.layout.shapes[0].y0 == 0.9
    assert note(figure) == "the dotted line is the dense model, 0.9"


def test_curves_tell_their_pruner_where_there_are_several() -> None:
    curves = [{"pruner": name, "group": "conv", "sparsities": [0.5], "values": [0.8]} for name in ("l1", "fpgm")]
    assert [line.name for line in plots.sensitivity(facts(curves=curves)).data] == ["conv (l1)", "conv (fpgm)"]


def test_without_a_scan_there_are_no_curves() -> None:
    assert not plots.sensitivity(facts(curves=[])).data
