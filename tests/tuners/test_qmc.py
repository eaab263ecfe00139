"""QMC: the points of the sequence in their order, each once, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import space_from_plain

from .simulated_search import Asked, maker, search

UNITS = space_from_plain({name: {"_type": "uniform", "_value": [0, 1]} for name in "xy"})


def points(count: int, **class_args: Any) -> list[tuple[float, float]]:
    tuner = maker("QMC", **class_args)(UNITS, OptimizeMode.MAXIMIZE, 1)
    return [
        (ask.proposal.parameters["x"], ask.proposal.parameters["y"])
        for ask in search(tuner, count, rough=False)
        if ask.proposal
    ]


def test_the_sobol_sequence_as_published() -> None:
    """The first two dimensions, as in Joe and Kuo's tables, in the order of Gray's code."""
    expected = [(0, 0), (0.5, 0.5), (0.75, 0.25), (0.25, 0.75), (0.375, 0.375), (0.875, 0.875)]
    assert points(6, scramble=False) == expected


def test_the_halton_sequence_as_published() -> None:
    """Radical inverses in the bases 2 and 3."""
    expected = [(0, 0), (1 / 2, 1 / 3), (1 / 4, 2 / 3), (3 / 4, 1 / 9), (1 / 8, 4 / 9)]
    found = points(5, qmc_type="halton", scramble=False)
    assert [value for point in found for value in point] == pytest.approx([v for point in expected for v in point])


@pytest.mark.parametrize("qmc_type", ["sobol", "halton"])
def test_a_scrambled_sequence_still_fills_the_cube_evenly(qmc_type: str) -> None:
    """Of 64 points one falls into every one of 64 equal parts of an axis (of 2^n in base 2, of 3^n in base 3)."""
    found = points(64, qmc_type=qmc_type)
    assert sorted(int(x * 64) for x, _ in found) == list(range(64))
    if qmc_type == "halton":
        assert sorted(int(y * 27) for _, y in found[:27]) == list(range(27))
    else:
        assert sorted(int(y * 64) for _, y in found) == list(range(64))


def positions(asked: list[Asked]) -> list[int]:
    return [ask.proposal.state["inner"]["position"] for ask in asked if ask.proposal]


def test_no_point_is_left_out_and_none_comes_twice() -> None:
    tuner = maker("QMC")(UNITS, OptimizeMode.MAXIMIZE, 1)
    asked = search(tuner, 30)
    assert positions(asked) == list(range(len(asked)))
    middle = asked[17]
    again = maker("QMC")(UNITS, OptimizeMode.MAXIMIZE, 1).ask(middle.number, middle.history)
    assert again == middle.proposal


def test_trials_from_elsewhere_do_not_move_the_sequence() -> None:
    other = Trial(0, TrialState.SUCCEEDED, {"x": 0.1, "y": 0.1}, 1.0)
    proposal = maker("QMC")(UNITS, OptimizeMode.MAXIMIZE, 1).ask(7, History((other,)))
    assert proposal is not None
    assert proposal.state["inner"] == {"position": 0}
