"""The grid: every combination once, in order, from the position alone."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import flatten, space_from_plain

from .simulated_search import Asked, maker, search


def grid(plain: Any, **class_args: Any) -> list[Asked]:
    tuner = maker("GridSearch", **class_args)(space_from_plain(plain), OptimizeMode.MAXIMIZE, 1)
    return search(tuner, 1000, rough=False)


def parameters(asked: list[Asked]) -> list[Any]:
    assert asked[-1].proposal is None
    return [ask.proposal.parameters for ask in asked[:-1] if ask.proposal]


def test_combinations_come_as_in_a_product() -> None:
    plain = {
        "a": {"_type": "choice", "_value": ["x", "y"]},
        "b": {"_type": "randint", "_value": [1, 4]},
        "c": {"_type": "quniform", "_value": [0, 0.3, 0.1]},
    }
    expected = [{"a": a, "b": b, "c": c} for a, b, c in product("xy", [1, 2, 3], [0.0, 0.1, 0.2, 0.3])]
    assert parameters(grid(plain)) == expected


def test_a_branch_counts_only_where_it_is_taken() -> None:
    found = parameters(grid(SPACES["choice in choice"], numeric_points=2))
    conv = (3 + 5 + 1) * 2
    assert len(found) == (conv + 1 + 2 + 1) * 2
    assert len({json.dumps(one, sort_keys=True) for one in found}) == len(found)
    space = space_from_plain(SPACES["choice in choice"])
    assert all(flatten(space, one) for one in found)


def test_points_of_what_has_no_steps() -> None:
    plain: Any = {"x": {"_type": "loguniform", "_value": [0.01, 1]}}
    assert parameters(grid(plain, numeric_points=3)) == [{"x": 0.01}, {"x": 0.1}, {"x": 1.0}]
    plain = {"x": {"_type": "normal", "_value": [5, 1]}}
    low, middle, high = (one["x"] for one in parameters(grid(plain, numeric_points=3)))
    assert middle == 5
    assert math.isclose(high - 5, 5 - low)
    plain = {"x": {"_type": "qnormal", "_value": [0, 0.1, 1]}}
    assert parameters(grid(plain)) == [{"x": 0.0}]


def test_a_huge_grid_is_not_written_out() -> None:
    plain = {f"x{i}": {"_type": "randint", "_value": [0, 10**9]} for i in range(100)}
    asked = search(maker("GridSearch")(space_from_plain(plain), OptimizeMode.MAXIMIZE, 1), 3, rough=False)
    assert [ask.proposal.parameters["x99"] for ask in asked if ask.proposal] == [0, 1, 2]


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.RUNNING])
def test_the_position_is_the_proposals(state: TrialState) -> None:
    """Numbers may skip, and trials may come from elsewhere: neither moves the grid."""
    space = space_from_plain({"x": {"_type": "randint", "_value": [0, 3]}})
    tuner = maker("GridSearch")(space, OptimizeMode.MAXIMIZE, 1)
    elsewhere = Trial(7, TrialState.SUCCEEDED, {"x": 2}, 1.0)
    own = Trial(8, state, {"x": 0}, tuner_state={"position": 0})
    history = History((elsewhere,), (own,)) if state is TrialState.RUNNING else History((elsewhere, own))
    proposal = tuner.ask(9, history)
    assert proposal is not None
    assert proposal.parameters == {"x": 1}
