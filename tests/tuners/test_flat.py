"""Flattening: which dimensions become one, how they share it, and what the tuner inside gets to see."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_spaces import SPACES, spaces

from autoprune.records import History, OptimizeMode, Proposal, Trial, TrialState
from autoprune.search_space import Choice, RandInt, Space, Uniform, flatten, sample, space_from_plain
from autoprune.tuners import Tuner, TunerArgs, check_space, make_tuner
from autoprune.tuners._custom import load_custom
from autoprune.tuners._flat import FlatTuner, FlatView
from autoprune.tuners.base import NestedArgs

UNIT = Uniform(0.0, 1.0)


def branches(**options: Any) -> dict[str, Any]:
    """A choice of branches; each member is given as its type and its value."""
    return {
        "_type": "choice",
        "_value": [
            {"_name": name, **{key: {"_type": kind, "_value": value} for key, (kind, value) in members.items()}}
            for name, members in options.items()
        ],
    }


def slots(**plain: Any) -> dict[str, Any]:
    return dict(FlatView(space_from_plain(plain)).space.members)


def options(dimension: Any) -> int:
    assert isinstance(dimension, Choice)
    return len(dimension.options)


def test_one_slot_for_a_name_and_a_type() -> None:
    found = dict(FlatView(space_from_plain(SPACES["seed"])).space.members)
    assert list(found) == ["prune_method", "prune_method/conv0_sparsity"]
    assert options(found["prune_method"]) == 2
    assert found["prune_method/conv0_sparsity"] == UNIT


def test_other_types_stay_apart() -> None:
    found = slots(
        m=branches(a={"x": ("uniform", [0, 1])}, b={"x": ("loguniform", [1, 2])}, c={"x": ("uniform", [2, 3])})
    )
    assert list(found) == ["m", "m/x", "m/x#2"]


def test_a_choice_is_shared_where_its_options_are_called_the_same() -> None:
    kernel = ("choice", ["small", "large"])
    found = slots(m=branches(a={"k": kernel}, b={"k": kernel}, c={"k": ("choice", ["large", "small"])}))
    assert {name: options(slot) for name, slot in found.items()} == {"m": 3, "m/k": 2, "m/k#2": 2}


def test_what_has_no_name_shares_nothing() -> None:
    bare = {"_type": "uniform", "_value": [0, 1]}, {"_type": "uniform", "_value": [2, 3]}
    assert list(slots(m={"_type": "choice", "_value": list(bare)})) == ["m", "m/#0", "m/#1"]


def test_names_of_the_same_letters_are_told_apart() -> None:
    found = slots(**{"m": branches(a={"x": ("uniform", [0, 1])}), "m/x": {"_type": "uniform", "_value": [0, 1]}})
    assert list(found) == ["m", "m/x", "m~1x"]


@pytest.mark.parametrize(
    ("kind", "one", "other", "slot"),
    [
        ("randint", [0, 5], [10, 15], RandInt(0, 5)),
        ("randint", [0, 5], [0, 6], UNIT),
        ("quniform", [0, 1, 0.1], [0, 10, 1], RandInt(0, 11)),
        ("qloguniform", [1, 100, 1], [1, 100, 1], UNIT),
        ("qnormal", [0, 1, 1], [0, 1, 1], UNIT),
        ("randint", [0, 10**6], [0, 10**6], UNIT),
    ],
)
def test_few_equal_steps_are_shared_by_their_index(kind: str, one: Any, other: Any, slot: Any) -> None:
    assert slots(m=branches(a={"x": (kind, one)}, b={"x": (kind, other)}))["m/x"] == slot


def test_a_point_is_read_by_the_branch_that_is_taken() -> None:
    view = FlatView(space_from_plain({"m": branches(a={"x": ("uniform", [0, 1])}, b={"x": ("uniform", [10, 30])})}))
    assert view.nested({"m": 0, "m/x": 0.25}) == {"m": {"_name": "a", "x": 0.25}}
    assert view.nested({"m": 1, "m/x": 0.25}) == {"m": {"_name": "b", "x": 15.0}}
    steps = branches(a={"x": ("quniform", [0, 1, 0.1])}, b={"x": ("quniform", [0, 20, 2])})
    view = FlatView(space_from_plain({"m": steps}))
    assert view.nested({"m": 0, "m/x": 3}) == {"m": {"_name": "a", "x": 0.3}}
    assert view.point({"m": {"_name": "b", "x": 6.0}}) == {"m": 1, "m/x": 3}


@given(plain=spaces, seed=st.integers(0, 2**31))
def test_parameters_and_points_of_any_space(plain: Any, seed: int) -> None:
    """Parameters have a point, which is theirs again but for rounding; and points have parameters."""
    space = space_from_plain(plain)
    view, dimensions, generator = FlatView(space), dict(space.dimensions()), random.Random(seed)
    parameters = sample(space, generator)
    point = view.point(parameters)
    flatten(view.space, point)
    before, after = flatten(space, parameters), flatten(space, view.nested(point))
    assert list(before) == list(after)
    for path, value in before.items():
        dimension = dimensions[path]
        if isinstance(dimension, Choice) or dimension.count:
            assert after[path] == value
        else:
            assert dimension.to_unit(after[path]) == pytest.approx(dimension.to_unit(value), abs=1e-6)
    flatten(space, view.nested(sample(view.space, generator)))


@given(plain=spaces, seed=st.integers(0, 2**31))
def test_no_two_active_dimensions_share_a_slot(plain: Any, seed: int) -> None:
    space = space_from_plain(plain)
    view = FlatView(space)
    active = flatten(space, sample(space, random.Random(seed)))
    assert len({view._slots[path] for path in active}) == len(active)


class Recorder(Tuner):
    """Asks for a fixed point, and keeps the histories it was shown."""

    name = "Recorder"
    Args: ClassVar[type[TunerArgs]] = NestedArgs

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self.finished: Sequence[Trial] = ()
        self.running: Sequence[Trial] = ()

    @classmethod
    def check(cls, space: Space, args: TunerArgs) -> str | None:
        return ", ".join(path for path, _ in space.dimensions())

    def ask(self, number: int, history: History) -> Proposal | None:
        self.finished, self.running = tuple(history.finished), tuple(history.running)
        return Proposal(POINT, {"own": number}) if number < 9 else None


class Flattener(Recorder):
    name = "Flattener"
    flattens = True


SPACE = space_from_plain(
    {"m": branches(a={"x": ("uniform", [0, 1])}, b={"x": ("uniform", [0, 1]), "y": ("randint", [5, 9])})}
)
POINT = {"m": 0, "m/x": 0.25, "m/y": 3}
FLAT = NestedArgs(flatten=True)


def flattened() -> tuple[FlatTuner, Recorder]:
    tuner = make_tuner(Recorder, SPACE, FLAT, 1)
    assert isinstance(tuner, FlatTuner)
    assert isinstance(tuner.inner, Recorder)
    return tuner, tuner.inner


def test_the_whole_point_comes_back_with_the_state() -> None:
    tuner, inner = flattened()
    proposal = tuner.ask(0, History())
    assert proposal is not None
    assert proposal.parameters == {"m": {"_name": "a", "x": 0.25}}
    state = json.loads(json.dumps(proposal.state))
    trial = Trial(0, TrialState.SUCCEEDED, proposal.parameters, 0.5, {"default": 0.5, "size": 3}, tuner_state=state)
    running = replace(trial, number=1, state=TrialState.RUNNING)
    tuner.ask(2, History((trial,), (running,)))
    assert inner.finished == (replace(trial, parameters=POINT, tuner_state={"own": 0}),)
    assert inner.running == (replace(running, parameters=POINT, tuner_state={"own": 0}),)
    assert inner.finished[0].metrics == {"default": 0.5, "size": 3}


def test_a_trial_from_elsewhere_lies_in_the_middle_where_nothing_is_known() -> None:
    tuner, inner = flattened()
    trial = Trial(0, TrialState.SUCCEEDED, {"m": {"_name": "a", "x": 0.9}}, 0.5, tuner_state={"generated": True})
    tuner.ask(1, History((trial,)))
    assert inner.finished == (replace(trial, parameters={"m": 0, "m/x": 0.9, "m/y": 2}, tuner_state=None),)


def test_a_trial_of_another_space_is_of_no_space_inside() -> None:
    tuner, inner = flattened()
    tuner.ask(1, History((Trial(0, TrialState.SUCCEEDED, {"m": {"_name": "c"}}, 0.5),)))
    assert inner.flat(inner.finished[0]) is None


def test_the_end_of_the_search_is_handed_on() -> None:
    assert flattened()[0].ask(9, History()) is None


def test_it_is_done_where_the_tuner_or_the_user_wants_it() -> None:
    assert isinstance(make_tuner(Recorder, SPACE, NestedArgs(), 1), Recorder)
    assert isinstance(make_tuner(Flattener, SPACE, NestedArgs(), 1), FlatTuner)
    assert check_space(Recorder, SPACE, NestedArgs()) == "m, m/a/x, m/b/x, m/b/y"
    assert check_space(Recorder, SPACE, FLAT) == check_space(Flattener, SPACE, NestedArgs()) == "m, m~1x, m~1y"


def test_a_class_of_ones_own_is_flattened_as_well(tmp_path: Path) -> None:
    (tmp_path / "own_flat.py").write_text(
        "from autoprune.records import Proposal\n"
        "from autoprune.search_space import defaults\n"
        "from autoprune.tuners import Tuner\n"
        "class Own(Tuner):\n"
        "    flattens = True\n"
        "    def ask(self, number, history):\n"
        "        return Proposal({**defaults(self.space), 'm': 1})\n"
    )
    tuner = load_custom("own_flat.Own", tmp_path, {}, SPACE, {}, OptimizeMode.MAXIMIZE, 1)
    proposal = tuner.ask(0, History())
    assert proposal is not None
    assert proposal.parameters == {"m": {"_name": "b", "x": 0.5, "y": 7}}


@pytest.mark.parametrize(
    ("plain", "always"),
    [
        ({"x": {"_type": "uniform", "_value": [0, 1]}, "c": {"_type": "choice", "_value": ["a", "b"]}}, True),
        ({"m": branches(a={"x": ("uniform", [0, 1])}, b={"x": ("uniform", [2, 3])})}, True),
        ({"m": branches(a={"x": ("uniform", [0, 1])}, b={"y": ("uniform", [0, 1])})}, False),
        ({"m": branches(a={"x": ("uniform", [0, 1])}, b={})}, False),
        ({"m": branches(a={"x": ("uniform", [0, 1])}, b={"x": ("randint", [0, 9])})}, False),
        ({"c": {"_type": "choice", "_value": ["a", {"_type": "uniform", "_value": [0, 1]}]}}, False),
        (SPACES["choice in choice"], False),
    ],
)
def test_whether_all_slots_are_active_whatever_is_chosen(plain: Any, always: bool) -> None:
    assert FlatView(space_from_plain(plain)).unconditional is always


@given(plain=spaces, seed=st.integers(0, 2**31))
def test_unconditional_spaces_leave_nothing_open(plain: Any, seed: int) -> None:
    space = space_from_plain(plain)
    view = FlatView(space)
    active = flatten(space, sample(space, random.Random(seed)))
    if view.unconditional:
        assert len(active) == len(view.space.members)


def test_the_first_sharer_of_a_slot_is_known() -> None:
    view = FlatView(space_from_plain({"m": branches(a={"x": ("uniform", [0, 1])}, b={"x": ("uniform", [2, 3])})}))
    assert view.first["m/x"] == Uniform(0.0, 1.0)
    assert options(view.first["m"]) == 2
