"""Batch: what the space lists, as it stands and in its order."""

from __future__ import annotations

from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import space_from_plain
from autoprune.tuners import TunerArgs
from autoprune.tuners.batch import Batch

from .simulated_search import maker, proposals, search

SETS: list[Any] = [
    {"optimizer": "Adam", "learning_rate": 0.1},
    {"optimizer": "SGD", "learning_rate": 0.01, "layers": [1, {"size": 2}]},
    {"optimizer": "SGD"},
]


def batch(*options: Any) -> dict[str, Any]:
    return {"combine_params": {"_type": "choice", "_value": list(options)}}


@pytest.mark.parametrize("concurrency", [1, 2])
def test_each_set_comes_once_and_in_order(concurrency: int) -> None:
    tuner = maker("Batch")(space_from_plain(batch(*SETS)), OptimizeMode.MAXIMIZE, 1)
    found = proposals(search(tuner, 10, concurrency=concurrency, rough=False))
    assert [proposal.parameters for proposal in found if proposal] == SETS
    assert found[len(SETS) :] == [None]


def test_a_rebuild_goes_on_where_it_was() -> None:
    def new() -> Any:
        return maker("Batch")(space_from_plain(batch(*SETS)), OptimizeMode.MAXIMIZE, 1)

    for ask in search(new(), 10):
        assert new().ask(ask.number, ask.history) == ask.proposal


def test_a_trial_from_elsewhere_takes_no_place() -> None:
    tuner = maker("Batch")(space_from_plain(batch(*SETS)), OptimizeMode.MAXIMIZE, 1)
    elsewhere = Trial(0, TrialState.SUCCEEDED, SETS[1], 1.0)
    failed = Trial(1, TrialState.FAILED, SETS[0], tuner_state={"position": 0})
    proposal = tuner.ask(2, History((elsewhere, failed)))
    assert proposal is not None
    assert proposal.parameters == SETS[1]


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({**batch(*SETS), "x": {"_type": "uniform", "_value": [0, 1]}}, "this space has 2 parameters"),
        ({"x": {"_type": "uniform", "_value": [0, 1]}}, "x is a uniform"),
        (batch("Adam", "SGD"), "combine_params has the option Adam"),
        (batch({"_name": "Adam"}, {"_name": "SGD"}), "combine_params has the option Adam"),
        (SPACES["seed"], "prune_method has the option agp"),
    ],
)
def test_other_spaces_are_refused(plain: Any, said: str) -> None:
    reason = Batch.check(space_from_plain(plain), TunerArgs.model_validate({}))
    assert reason is not None
    assert reason.endswith(said)


def test_one_choice_of_any_name_will_do() -> None:
    space = space_from_plain({"anything": batch(*SETS)["combine_params"]})
    assert Batch.check(space, TunerArgs.model_validate({})) is None
