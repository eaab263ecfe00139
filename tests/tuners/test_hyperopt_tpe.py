"""HyperoptTPE: hyperopt's own answers, from a bounded part of the history."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from sample_spaces import SPACES

from autoprune.records import History, OptimizeMode, Trial, TrialState
from autoprune.search_space import Space, sample, space_from_plain
from autoprune.tuners import hyperopt_tpe
from autoprune.tuners.hyperopt_tpe import HyperoptTPE, HyperoptTPEArgs

from .simulated_search import maker, proposals, search

SPACE = space_from_plain({name: {"_type": "uniform", "_value": [0, 1]} for name in "xy"})


def tuner(space: Space = SPACE, seed: int = 1, **given: Any) -> HyperoptTPE:
    return HyperoptTPE(space, HyperoptTPEArgs.model_validate({"optimize_mode": "minimize", **given}), seed)


def sampled(space: Space, count: int) -> list[Trial]:
    draw = Random(2)
    return [Trial(n, TrialState.SUCCEEDED, sample(space, draw), draw.random(), finish_order=n) for n in range(count)]


@pytest.mark.parametrize("count", [20, 64, 300])
def test_the_answers_are_hyperopts(count: int) -> None:
    """As long as it can be shown every trial, nothing is changed on the way there or back."""
    from hyperopt import hp, tpe
    from hyperopt.base import JOB_STATE_DONE, STATUS_OK, Domain, trials_from_docs

    trials = sampled(SPACE, count)
    documents = [
        {
            "tid": trial.number,
            "state": JOB_STATE_DONE,
            "result": {"loss": trial.value, "status": STATUS_OK},
            "misc": {
                "tid": trial.number,
                "cmd": None,
                "idxs": {name: [trial.number] for name in "xy"},
                "vals": {name: [trial.parameters[name]] for name in "xy"},
            },
            **dict.fromkeys(("spec", "exp_key", "owner", "version", "book_time", "refresh_time")),
        }
        for trial in trials
    ]
    own = tuner()
    domain = Domain(None, {name: hp.uniform(name, 0, 1) for name in "xy"})
    shown = trials_from_docs(documents, validate=False)
    (asked,) = tpe.suggest([count], domain, shown, own.seed_for(count), verbose=False)
    expected = {name: SPACE.members[name].from_unit(asked["misc"]["vals"][name][0]) for name in "xy"}  # type: ignore[union-attr]
    assert own.ask(count, History(trials)).parameters == expected


@pytest.mark.parametrize("count", [401, 1000, 1600, 12_000])
def test_the_good_trials_are_the_same_however_few_are_shown(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperopt import tpe

    seen: dict[str, Any] = {}
    suggest = tpe.suggest

    def watched(new_ids: Any, domain: Any, trials: Any, seed: int, **options: Any) -> Any:
        seen.update(options, losses=sorted(trials.losses()))
        return suggest(new_ids, domain, trials, seed, **options)

    monkeypatch.setattr(tpe, "suggest", watched)
    trials = sampled(SPACE, count)
    tuner().ask(count, History(trials))
    assert len(seen["losses"]) == hyperopt_tpe.BEST + hyperopt_tpe.NEWEST
    good = math.ceil(0.25 * math.sqrt(count))
    assert math.ceil(seen["gamma"] * math.sqrt(len(seen["losses"]))) == good
    assert good > 25 or seen["losses"][:good] == sorted(trial.value or 0.0 for trial in trials)[:good]
    assert seen["losses"][:25] == sorted(trial.value or 0.0 for trial in trials)[:25]


def test_the_part_shown_depends_on_the_history_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyperopt_tpe, "BEST", 6)
    monkeypatch.setattr(hyperopt_tpe, "NEWEST", 8)
    make = maker("HyperoptTPE", n_startup_jobs=5)
    space = space_from_plain(SPACES["choice in choice"])
    for ask in search(make(space, OptimizeMode.MAXIMIZE, 1), 50):
        assert make(space, OptimizeMode.MAXIMIZE, 1).ask(ask.number, ask.history) == ask.proposal


def test_running_trials_push_others_away_and_are_not_remembered() -> None:
    finished = [Trial(n, TrialState.SUCCEEDED, {"x": n / 40, "y": 0.5}, abs(n / 40 - 0.3)) for n in range(40)]
    own = tuner()
    alone = own.ask(60, History(finished)).parameters
    near = [Trial(40 + n, TrialState.RUNNING, alone) for n in range(20)]
    apart = own.ask(60, History(finished, near)).parameters
    assert abs(apart["x"] - alone["x"]) > 0.01
    assert own.ask(60, History(finished)).parameters == alone


def test_the_first_are_random() -> None:
    """Before `n_startup_jobs` trials, even where there are more of them than are shown, values make no difference."""
    trials = sampled(SPACE, 500)
    turned = [Trial(t.number, t.state, t.parameters, 1 - (t.value or 0.0)) for t in trials]

    def differs(count: int) -> bool:
        one, other = (tuner(n_startup_jobs=450).ask(count, History(known[:count])) for known in (trials, turned))
        return one != other

    assert not differs(449)
    assert differs(450)


@pytest.mark.parametrize("option", [{"gamma": 3.0}, {"prior_weight": 20.0}, {"n_ei_candidates": 2}])
def test_arguments_make_a_difference(option: dict[str, Any]) -> None:
    space = space_from_plain(SPACES["seed"])
    plain = proposals(search(maker("HyperoptTPE")(space, OptimizeMode.MAXIMIZE, 1), 50))
    assert proposals(search(maker("HyperoptTPE", **option)(space, OptimizeMode.MAXIMIZE, 1), 50)) != plain


@pytest.mark.parametrize("name", ["gamma", "prior_weight", "n_startup_jobs", "n_ei_candidates"])
def test_arguments_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        tuner(**{name: 0})
