"""Value and cost: all trials, those that no other beats, and the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_workspace import Sample

from autoprune import plots
from autoprune.plots.gallery import EXHIBITS, Subject
from autoprune.records import JSON, OptimizeMode, TrialState
from autoprune.results import Results
from autoprune.store import experiments
from tests.plots.made import facts, note, plain, trace, trial

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20)


def weighed(*points: tuple[float, float], x: str = "macs", **given: Any) -> list[Any]:
    return [trial(number, value, metrics={x: cost}, **given) for number, (cost, value) in enumerate(points)]


@given(POINTS, st.sampled_from(OptimizeMode), st.sampled_from(["macs", "sparsity"]))
def test_no_trial_beats_one_of_the_front(points: list[tuple[int, int]], mode: OptimizeMode, x: str) -> None:
    made = weighed(*points, x=x)
    costs = [
        (cost if x == "macs" else -cost, -value if mode is OptimizeMode.MAXIMIZE else value) for cost, value in points
    ]
    beaten = {
        one
        for one, (cost, loss) in enumerate(costs)
        if any(c <= cost and v <= loss and (c, v) != (cost, loss) for c, v in costs)
    }
    assert sorted(plots.front(made, x, mode)) == [number for number in range(len(points)) if number not in beaten]


def test_an_experiment_that_optimises_both_has_one_front(fresh: Sample) -> None:
    """That of the page and the report is that of REST."""
    for number, (value, speed) in enumerate([(0.7, 30), (0.8, 20), (0.9, 10), (0.6, 5)]):
        fresh.add(number)
        fresh.start(number)
        fresh.finish(number, TrialState.SUCCEEDED, value, values={"default": value, "bytes": 1, "fps": speed})
    with fresh.store.write() as tx:
        config = {**experiments.get(tx, fresh.id).config}
        config["tuner"] = {"name": "NSGA2", "classArgs": {"objectives": {"fps": "maximize"}}}
        experiments.set_config(tx, fresh.id, config)
    results = Results(fresh.workspace, fresh.store)
    (exhibit,) = [one for one in EXHIBITS if one.name == "pareto"]
    figure = exhibit.make(Subject(results, results.experiment()))
    assert plain(figure)["layout"]["xaxis"]["title"]["text"] == "fps"
    assert sorted(trace(figure, "not beaten")["customdata"]) == [0, 1, 2]
    assert sorted(trial.number for trial in results.pareto().items) == [0, 1, 2]


@pytest.mark.parametrize(
    ("reported", "title"),
    [
        ({"sparsity": 0.9, "f1": 0.5}, "Value against sparsity"),
        ({"bytes": 5}, "Value against bytes"),
        ({"f1": 0.5}, ""),
    ],
)
def test_an_experiment_has_it_where_there_is_a_cost(fresh: Sample, reported: dict[str, float], title: str) -> None:
    """Its title is the number that values are weighed against."""
    fresh.add(0)
    fresh.start(0)
    fresh.finish(0, TrialState.SUCCEEDED, 0.7, values={"default": 0.7, **reported})
    results = Results(fresh.workspace, fresh.store)
    (exhibit,) = [one for one in EXHIBITS if one.name == "pareto"]
    subject = Subject(results, results.experiment())
    figure = exhibit.draw(subject)
    assert (figure is None) is (title == "")
    assert figure is None or (exhibit.titled(subject), figure.layout.title.text) == (title, title)


def test_the_front_leaves_out_what_may_not_be_the_best() -> None:
    made = [
        *weighed((5, 0.5)),
        trial(1, 0.9, metrics={"macs": 1}, feasible=False),
        trial(2, 0.9, metrics={"macs": 1}, repeat_of=0),
        trial(3, 0.9, metrics={"macs": None}),
        trial(4, 0.9, "EARLY_STOPPED", metrics={"macs": 1}),
    ]
    assert plots.front(made, "macs", "maximize") == [0]
    figure = plots.pareto(made, [0], "macs", "maximize")
    told = {each["name"]: each["customdata"] for each in plain(figure)["data"]}
    assert told == {"succeeded": [], "repeated": [2], "infeasible": [1], "not beaten": [0]}


@pytest.mark.parametrize(
    ("mode", "x", "points", "shape"),
    [
        ("maximize", "macs", [(1, 0.5), (3, 0.9)], "hv"),
        ("minimize", "macs", [(1, 0.9), (3, 0.5)], "hv"),
        ("maximize", "sparsity", [(0.1, 0.9), (0.9, 0.5)], "vh"),
    ],
)
def test_the_line_tells_what_can_be_had(mode: str, x: str, points: list[tuple[float, float]], shape: str) -> None:
    made = weighed(*reversed(points), x=x)
    line = trace(plots.pareto(made, plots.front(made, x, mode), x, mode), "not beaten")
    assert list(zip(line["x"], line["y"], strict=True)) == points
    assert line["line"]["shape"] == shape


def test_the_budget_is_a_line() -> None:
    figure = plots.pareto(weighed((5, 0.5)), [0], "macs", "maximize", 1234567.0)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1234567.0, 1234567.0)
    assert figure.layout.annotations[0].text == "budget 1,234,567"
    assert not plots.pareto(weighed((5, 0.5)), [0], "macs", "maximize").layout.shapes


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        ({}, None),
        ({"kind": "macs", "limit": 250, "dense": 1000}, ("macs", 250)),
        ({"kind": "parameters", "limit": 25, "dense": 100}, ("parameters", 25)),
        ({"kind": "latency", "limit": 0.5, "dense": 1.0}, ("latency_ms", 0.5)),
        ({"kind": "sparsity", "limit": 20, "dense": 80}, ("sparsity", 0.75)),
        ({"kind": "size", "limit": 100, "dense": 400}, ("bytes", 120)),
    ],
)
def test_a_budget_limits_what_trials_report(budget: dict[str, JSON], line: tuple[str, float] | None) -> None:
    assert plots.budget_line(facts(budget=budget)) == line


def test_one_cost_for_all_is_shown_closely() -> None:
    made = weighed((0.8, 0.5), (0.8, 0.6), x="sparsity")
    assert plots.pareto(made, [1], "sparsity", "maximize").layout.xaxis.range == pytest.approx((0.72, 0.88))
    assert plots.pareto(made, [1], "sparsity", "maximize", 0.5).layout.xaxis.range is None


def test_without_a_task_there_is_no_budget() -> None:
    assert plots.budget_line(None) is None


def test_of_many_trials_the_whole_front_is_shown() -> None:
    made = weighed(*((number, float(number % 500)) for number in range(5000)))
    front = plots.front(made, "macs", "maximize")
    figure = plots.pareto(made, front, "macs", "maximize")
    assert trace(figure, "not beaten")["customdata"] == front == list(range(500))
    assert note(figure).startswith("2,000 of 5,000 trials")
