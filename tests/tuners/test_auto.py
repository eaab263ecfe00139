"""auto beside the contract: where it begins, what it learns from, that nothing is tried twice, and how well it does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoprune.compression.core.scaling import scale_to_target
from autoprune.config import ExperimentConfig
from autoprune.manager.advisor import Advisor
from autoprune.records import History, OptimizeMode, Parameters, Trial, TrialState
from autoprune.search_space import Space, space_from_plain
from autoprune.tuners import Tuner
from autoprune.tuners._trust_region import RADIUS
from autoprune.tuners.auto import Auto

from .simulated_search import ALLOCATION, maker, search

MINIMIZE = OptimizeMode.MINIMIZE
SIZES = {f"conv{i}": size for i, size in enumerate((100, 900, 3600, 10_000, 40_000, 2_000))}
DAMAGE = dict(zip(SIZES, (0.16, 0.1, 0.12, 0.06, 0.02, 0.18), strict=True))
METHODS = {"level": 1.2, "agp": 1.0}
TARGET = 0.9


def space_of(*methods: str, highest: float = 0.999) -> dict[str, Any]:
    sparsity = {"_type": "uniform", "_value": [0, highest]}
    options = [{"_name": method, **{f"{name}_sparsity": sparsity for name in SIZES}} for method in methods]
    return {"prune_method": {"_type": "choice", "_value": options}}


def parameters_of(densities: dict[str, float], method: str = "level") -> dict[str, Any]:
    return {"prune_method": {"_name": method, **{f"{name}_sparsity": 1 - d for name, d in densities.items()}}}


def sparsities_of(parameters: Parameters) -> dict[str, float]:
    return {name: parameters["prune_method"][f"{name}_sparsity"] for name in SIZES}


def damage(parameters: Parameters) -> float:
    """What pruning to the budget does, whose least is known: see `least`."""
    scaled = scale_to_target(sparsities_of(parameters), SIZES, TARGET)
    lost = math.fsum(DAMAGE[name] * s / (1 - s) for name, s in scaled.items())
    return METHODS[parameters["prune_method"]["_name"]] * lost


def least() -> float:
    """By Lagrange: densities are as the root of damage by size, as far as a layer is not dense."""
    best = {name: math.sqrt(DAMAGE[name] / SIZES[name]) for name in SIZES}
    return damage(parameters_of({name: d / max(best.values()) for name, d in best.items()}, "agp"))


def run(tuner: Tuner, count: int, noise: float, seed: int, starts: list[Parameters]) -> list[Trial]:
    generator = np.random.default_rng(seed)
    trials: list[Trial] = []
    for number in range(count):
        proposal = None if number < len(starts) else tuner.ask(number, History(trials))
        parameters = proposal.parameters if proposal else starts[number]
        value = damage(parameters) + noise * generator.standard_normal()
        state, origin = (proposal.state, "") if proposal else (None, f"start {number}")
        trials.append(
            Trial(number, TrialState.SUCCEEDED, parameters, value, {"default": value}, tuner_state=state, origin=origin)
        )
    return trials


STARTS = [parameters_of(dict.fromkeys(SIZES, 0.1)), parameters_of({name: SIZES[name] ** -0.5 for name in SIZES})]


def late_damage(make: Callable[[Space, OptimizeMode, int], Tuner], starts: list[Parameters], count: int = 50) -> float:
    """The mean of the last ten of each search above the least, in the median of some searches."""
    space = space_from_plain(space_of("level", "agp"))
    runs = [run(make(space, MINIMIZE, seed), count, 0.3, seed, starts) for seed in range(5)]
    return statistics.median(
        statistics.fmean(damage(trial.parameters) for trial in trials[-10:]) - least() for trials in runs
    )


def test_under_noise_it_ends_nearer_to_the_optimum_than_others() -> None:
    """With starting points, and all trials scaled to the budget; noise is half of what there is to gain."""
    start = min(damage(parameters) for parameters in STARTS) - least()
    found = late_damage(maker("auto", scaled=True), STARTS)
    assert found < start / 2
    assert found < late_damage(maker("TPE", flatten=True), STARTS) / 2
    assert found < late_damage(maker("Anneal", flatten=True), STARTS)


def test_it_finds_the_better_method_though_no_starting_point_has_it() -> None:
    space = space_from_plain(space_of("level", "agp"))
    found = [run(maker("auto", scaled=True)(space, MINIMIZE, seed), 60, 0.1, seed, STARTS)[-10:] for seed in range(5)]
    used = [trial.parameters["prune_method"]["_name"] for trials in found for trial in trials]
    assert used.count("agp") > len(used) / 2


def test_it_begins_near_the_best_starting_point_and_without_one_at_random() -> None:
    space = space_from_plain(space_of("level"))
    tuner = maker("auto", scaled=True)(space, MINIMIZE, 1)
    trials = run(tuner, 2, 0.0, 1, STARTS)
    first = tuner.ask(2, History(trials))
    assert first is not None
    assert first.state == {"radius": RADIUS}
    best = min(trials, key=lambda trial: trial.value or 0.0)
    logs = [
        np.log([1 - s for s in sparsities_of(parameters).values()])
        for parameters in (first.parameters, best.parameters, trials[0].parameters)
    ]
    near, far = (np.std(logs[0] - other) for other in logs[1:])
    assert near < far
    nobody_said = [replace(trial, origin="") for trial in trials]
    drawn = maker("auto", scaled=True)(space, MINIMIZE, 1).ask(2, History(nobody_said))
    assert drawn is not None
    assert drawn.state is None


def proposal_after(trials: list[Trial], running: list[Trial] | None = None, **class_args: Any) -> Any:
    proposal = maker("auto", **class_args)(space_from_plain(space_of("level")), MINIMIZE, 1).ask(
        100, History(trials, running or [])
    )
    assert proposal is not None
    return proposal.parameters


def known() -> list[Trial]:
    return run(maker("auto", scaled=True)(space_from_plain(space_of("level")), MINIMIZE, 1), 20, 0.1, 1, STARTS)


def test_it_learns_only_from_trials_that_ran_to_their_end() -> None:
    trials = known()
    answer = proposal_after(trials, scaled=True)
    for state in (TrialState.EARLY_STOPPED, TrialState.FAILED, TrialState.INVALID, TrialState.USER_CANCELED):
        other = replace(trials[5], number=20, state=state, value=-50.0, parameters=STARTS[0])
        assert proposal_after([*trials, other], scaled=True) == answer
    ended = replace(trials[5], number=20, value=-50.0, parameters=STARTS[0])
    assert proposal_after([*trials, ended], scaled=True) != answer


def test_a_repeat_says_nothing_about_the_radius() -> None:
    """It is another result of its place; a trial of the tuner's own would be a success."""
    trials = known()
    repeat = replace(trials[5], number=20, value=-50.0)
    asked = {}
    for repeat_of in (None, 5):
        tuner = maker("auto", scaled=True)(space_from_plain(space_of("level")), MINIMIZE, 1)
        proposal = tuner.ask(100, History([*trials, replace(repeat, repeat_of=repeat_of)]))
        asked[repeat_of] = proposal.state["radius"] if proposal else None
    assert asked[5] < asked[None]


def test_a_copy_of_an_earlier_result_teaches_nothing() -> None:
    """Neither the radius nor the region: it says nothing new, and is tried all the same."""
    trials = known()
    copy = replace(trials[5], number=20, value=-50.0, metrics={"default": -50.0, "same_as": 5}, parameters=STARTS[0])
    space = space_from_plain(space_of("level"))
    asked = [
        maker("auto", scaled=True)(space, MINIMIZE, 1).ask(100, History(each)) for each in (trials, [*trials, copy])
    ]
    assert asked[0] == asked[1]
    assert asked[0] is not None
    again = replace(copy, parameters=asked[0].parameters)
    other = maker("auto", scaled=True)(space, MINIMIZE, 1).ask(100, History([*trials, again]))
    assert other is not None
    assert other.parameters != asked[0].parameters
    assert other.state == asked[0].state


def test_of_scaled_sparsities_only_proportions_count() -> None:
    """Whoever halves all densities of the history gets the same proportions."""

    def halved(trial: Trial) -> Trial:
        densities = {name: (1 - s) / 2 for name, s in sparsities_of(trial.parameters).items()}
        return replace(trial, parameters=parameters_of(densities))

    trials = [
        replace(
            trial, parameters=parameters_of({n: max(1 - s, 0.01) for n, s in sparsities_of(trial.parameters).items()})
        )
        for trial in known()
    ]
    one, other = (sparsities_of(proposal_after(list(each), scaled=True)) for each in (trials, map(halved, trials)))
    assert one == pytest.approx(other, abs=1e-9)
    one, other = (sparsities_of(proposal_after(list(each))) for each in (trials, map(halved, trials)))
    assert one != pytest.approx(other, abs=1e-3)


FINITE = {
    "c": {"_type": "choice", "_value": [{"_name": "a", "n": {"_type": "randint", "_value": [0, 3]}}, "b"]},
    "q": {"_type": "quniform", "_value": [0, 1, 0.25]},
}
SHARED = {"c": {"_type": "choice", "_value": ["a", "b"]}, "q": {"_type": "quniform", "_value": [0, 1, 0.1]}}


@pytest.mark.parametrize(("plain", "count"), [(FINITE, 4 * 5), (SHARED, 2 * 11)])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_every_combination_comes_once(plain: dict[str, Any], count: int, concurrency: int) -> None:
    asked = search(maker("auto")(space_from_plain(plain), MINIMIZE, 3), 60, concurrency=concurrency, rough=False)
    found = [str(ask.proposal.parameters) for ask in asked if ask.proposal]
    assert len(found) == len(set(found)) == count
    assert asked[-1].proposal is None


def test_nothing_is_proposed_twice_even_where_it_hardly_moves() -> None:
    asked = search(maker("auto")(space_from_plain(ALLOCATION), MINIMIZE, 1), 60, lambda _: 1.0, rough=False)
    found = [str(ask.proposal.parameters) for ask in asked if ask.proposal]
    assert len(set(found)) == 60


OWN = {
    "c": {
        "_type": "choice",
        "_value": [
            {"_name": "a", "x": {"_type": "uniform", "_value": [0, 1]}},
            {"_name": "b", "y": {"_type": "uniform", "_value": [0, 1]}},
        ],
    }
}


def test_where_branches_have_parameters_of_their_own_it_is_tpe() -> None:
    space = space_from_plain(OWN)
    asked = search(maker("auto")(space, MINIMIZE, 1), 30, rough=False)
    tpe = maker("TPE")(space, MINIMIZE, 1)
    assert [ask.proposal for ask in asked] == [tpe.ask(ask.number, ask.history) for ask in asked]


def test_scaled_sparsities_are_searched_together_whatever_the_branches_have() -> None:
    """Pruners of weights and of filters may have other groups; what is tried first is still where it begins."""
    plain = space_of("level")
    plain["prune_method"]["_value"].append({"_name": "l1", "all_sparsity": {"_type": "uniform", "_value": [0, 0.9]}})
    trial = Trial(0, TrialState.SUCCEEDED, STARTS[0], 1.0, origin="uniform")
    proposal = maker("auto", scaled=True)(space_from_plain(plain), MINIMIZE, 1).ask(1, History([trial]))
    assert proposal is not None
    assert proposal.state == {"radius": RADIUS}


@pytest.mark.parametrize(("budget", "scaled"), [({"sparsity": 0.9}, True), (None, False)])
def test_with_a_budget_it_is_told_that_sparsities_are_scaled(budget: Any, scaled: bool) -> None:
    config = ExperimentConfig.from_json(
        {
            "experimentName": "x",
            "searchSpace": space_of("level"),
            "task": "task.py:Task",
            "budget": budget,
            "trialCodeDirectory": "/",
            "tuner": {"name": "auto"},
        }
    )
    tuner = Advisor({"config": config.to_json(), "seed": 1})._tuner
    assert isinstance(tuner, Auto)
    assert isinstance(tuner.args, Auto.Args)
    assert tuner.args.scaled is scaled  # type: ignore[attr-defined]
