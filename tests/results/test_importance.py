"""Which parameters matter, where it is known which do."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from sample_workspace import Sample

from autoprune.records import Trial, TrialState
from autoprune.results import Results
from autoprune.results import importance as module
from autoprune.results.importance import FEWEST, importances
from autoprune.results.models import Importance
from autoprune.store import trials


def ran(count: int, parameters: Callable[[random.Random], Any], value: Callable[[Any], float | None]) -> list[Trial]:
    draw = random.Random(3)
    drawn = [parameters(draw) for _ in range(count)]
    return [
        Trial(number, TrialState.SUCCEEDED, given, value=value(given), created="c", attempts=1, finish_order=number)
        for number, given in enumerate(drawn)
    ]


def shares(found: list[Importance]) -> dict[str, float]:
    return {one.name: one.importance for one in found}


def three(draw: random.Random) -> dict[str, Any]:
    return {"a": draw.random(), "b": draw.random(), "c": draw.random(), "same": 5}


def test_what_matters_most_comes_first() -> None:
    found = importances(ran(200, three, lambda given: 10 * given["a"] ** 2 + 2 * given["b"]))
    assert [one.name for one in found][:2] == ["a", "b"]
    assert math.isclose(sum(one.importance for one in found), 1)
    told = shares(found)
    assert told["a"] > 3 * told["b"] > 9 * told["c"]
    assert told["same"] == 0
    assert min(told.values()) >= 0


def test_one_that_matters_only_together_with_another() -> None:
    found = shares(importances(ran(400, three, lambda given: (given["a"] - 0.5) * (given["b"] - 0.5))))
    assert min(found["a"], found["b"]) > 0.4
    assert found["c"] < 0.05


def test_the_same_trials_give_the_same_answer() -> None:
    known = ran(60, three, lambda given: given["b"])
    assert importances(known) == importances(known)


def test_diverged_results_do_not_outweigh_the_others() -> None:
    found = importances(ran(200, three, lambda given: 1e300 if given["c"] > 0.99 else given["a"]))
    assert found[0].name == "a"
    assert found[0].importance > 0.9


def nested(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.5:
        return {"method": {"_name": "agp", "x": draw.random(), "y": draw.random()}}
    return {"method": {"_name": "level", "x": draw.random(), "inner": {"_name": "z", "w": draw.random()}}}


def test_parameters_of_different_branches_are_different() -> None:
    """`x` matters in one branch and not in the other, `y` is in one alone."""
    found = shares(
        importances(ran(400, nested, lambda given: given["method"]["x"] if given["method"]["_name"] == "agp" else 0.5))
    )
    assert set(found) == {
        *("method", "method/agp/x", "method/agp/y"),
        *("method/level/x", "method/level/inner", "method/level/inner/z/w"),
    }
    assert found["method/agp/x"] > 0.8
    assert max(found["method/level/x"], found["method/agp/y"], found["method/level/inner/z/w"]) < 0.05


def test_the_choice_itself_can_matter() -> None:
    found = importances(ran(200, nested, lambda given: float(given["method"]["_name"] == "agp")))
    assert found[0].name == "method"
    assert found[0].importance > 0.9


@pytest.mark.parametrize(
    "options", [["tanh", "relu", "gelu"], [True, False], [None, 3, "x"], [[1, 2], [3]], [-1e308, 1e308]]
)
def test_values_of_every_kind(options: list[Any]) -> None:
    def drawn(draw: random.Random) -> dict[str, Any]:
        return {"kind": draw.choice(options), "other": draw.random()}

    found = importances(ran(100, drawn, lambda given: options.index(given["kind"])))
    assert found[0].name == "kind"
    assert found[0].importance > 0.9


def test_nothing_is_said_of_few_trials_or_of_chance_alone() -> None:
    assert importances([]) == []
    assert importances(ran(FEWEST - 1, three, lambda given: given["a"])) == []
    assert importances(ran(FEWEST * 4, three, lambda given: 0.5)) == []
    assert importances(ran(FEWEST * 4, lambda draw: {}, lambda given: random.random())) == []
    assert importances(ran(FEWEST * 4, lambda draw: {"same": 1}, lambda given: random.random())) == []


def test_only_own_successes_count(fresh: Sample) -> None:
    """A repeat weighs nothing, nor does a trial that did not succeed."""
    own = ran(40, three, lambda given: given["a"])
    misleading = [
        Trial(40 + number, state, {"a": 0.5, "b": float(number)}, value=-float(number), created="c", repeat_of=of)
        for number, (state, of) in enumerate([(TrialState.EARLY_STOPPED, None), (TrialState.SUCCEEDED, 0)] * 30)
    ]
    with fresh.store.write() as tx:
        trials.create_all(tx, fresh.id, [*own, *misleading])
    assert Results(fresh.workspace, fresh.store).importance() == importances(own)


def test_of_very_many_a_sample_is_looked_at(fresh: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(module, "MOST", 50)
    monkeypatch.setattr("autoprune.results.reader.importances", lambda found: looked_at.append(found) or [])
    with fresh.store.write() as tx:
        trials.create_all(tx, fresh.id, ran(200, three, lambda given: given["a"]))
    for _ in range(2):
        Results(fresh.workspace, fresh.store).importance()
    numbers = [[trial.number for trial in found] for found in looked_at]
    assert numbers[0] == numbers[1] == sorted(numbers[0])
    assert len(set(numbers[0])) == 50


def test_it_is_worked_out_once_for_the_same_results(fresh: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("autoprune.results.reader.importances", lambda found: asked.append(len(found)) or [])
    for number in range(FEWEST):
        fresh.succeed(number, 0.1 * number)
    results = Results(fresh.workspace, fresh.store)
    assert results.importance() == results.importance() == []
    assert asked == [FEWEST]
    fresh.succeed(FEWEST, 0.5)
    results.importance()
    assert asked == [FEWEST, FEWEST + 1]
