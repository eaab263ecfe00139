"""Schedules: every formula by hand, what all of them promise, and how annealing moves, accepts and ends."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoprune.annealing import accepts, perturbed
from autoprune.compression.core.schedules import Schedule, Task, schedule, schedules
from autoprune.errors import UsageError

SIZES = {"conv0": 36, "conv1": 216, "fc": 9600, "head": 100}
LARGE = {"a": 10_000, "b": 20_000, "c": 70_000}
STEPWISE = ["agp", "linear", "lottery_ticket"]

sparsity = st.floats(0, 0.999)
counts = st.one_of(st.integers(1, 12), st.integers(1, 5000), st.integers(10**6, 10**8))


def all_at(target: float) -> dict[str, float]:
    return dict.fromkeys(SIZES, target)


def run(
    plan: Schedule,
    targets: Mapping[str, float],
    sizes: Mapping[str, int],
    score: Callable[[Task], float] = lambda task: 0.5,
) -> list[Task]:
    """All tasks of a schedule, each answered with its score."""
    tasks, done = plan.tasks(targets, sizes), []
    task = next(tasks)
    while True:
        done.append(task)
        try:
            task = tasks.send(score(task))
        except StopIteration:
            return done


def of(target: float, plan: Schedule) -> list[float]:
    return [task.sparsities["fc"] for task in run(plan, {"fc": target}, {"fc": 1000})]


def pruned(sizes: Mapping[str, int], task: Task) -> int:
    return sum(math.floor(sizes[name] * value + 1e-9) for name, value in task.sparsities.items())


def test_linear_by_hand() -> None:
    assert of(0.8, schedule("linear", total_iteration=4)) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_agp_by_hand() -> None:
    """1 - (3/4)^3 = 37/64, 1 - (2/4)^3 = 56/64, 1 - (1/4)^3 = 63/64."""
    expected = [0, 0.8 * 37 / 64, 0.8 * 56 / 64, 0.8 * 63 / 64, 0.8]
    assert of(0.8, schedule("agp", total_iteration=4)) == pytest.approx(expected)


def test_lottery_ticket_by_hand() -> None:
    plan = schedule("lottery_ticket", total_iteration=5)
    assert of(0.8, plan) == pytest.approx([0.2752, 0.4747, 0.6193, 0.7241, 0.8], abs=5e-5)
    assert of(0.75, schedule("lottery_ticket", total_iteration=2)) == pytest.approx([0.5, 0.75])


def test_one_shot_by_hand() -> None:
    assert run(schedule("one_shot"), {"a": 0.8, "b": 0.3}, {"a": 10, "b": 20}) == [Task(0, {"a": 0.8, "b": 0.3}, True)]


def test_steps_are_numbered_as_in_the_formulas() -> None:
    steps = {
        name: [task.step for task in run(schedule(name, total_iteration=3), all_at(0.5), SIZES)] for name in STEPWISE
    }
    assert steps == {"agp": [0, 1, 2, 3], "linear": [0, 1, 2, 3], "lottery_ticket": [1, 2, 3]}


@pytest.mark.parametrize("name", schedules.names())
@given(target=sparsity, other=sparsity)
def test_what_every_schedule_promises(name: str, target: float, other: float) -> None:
    targets = {"conv0": target, "conv1": other, "fc": target, "head": other}
    plan = schedule(name)
    done = run(plan, targets, SIZES, lambda task: Random(task.step).random())
    assert len(done) == len(plan)
    assert done[-1].at_target
    assert all(list(task.sparsities) == list(SIZES) for task in done)
    assert all(0 <= value < 1 for task in done for value in task.sparsities.values())
    if sum(SIZES[layer] * value for layer, value in targets.items()) >= 1:
        assert not any(task.at_target for task in done if not any(task.sparsities.values()))


@pytest.mark.parametrize("name", STEPWISE)
@given(target=sparsity, total_iteration=st.integers(1, 60))
def test_steps_rise_to_exactly_the_target(name: str, target: float, total_iteration: int) -> None:
    plan = schedule(name, total_iteration=total_iteration)
    done = run(plan, {"a": target, "b": target / 2}, {"a": 1000, "b": 50})
    for earlier, later in pairwise(done):
        assert all(earlier.sparsities[each] <= later.sparsities[each] for each in ("a", "b"))
    assert done[-1].sparsities == {"a": target, "b": target / 2}
    assert [task.at_target for task in done] == [task.sparsities == done[-1].sparsities for task in done]


@pytest.mark.parametrize("name", ["agp", "linear"])
def test_a_task_that_prunes_nothing_is_at_the_target_only_where_that_is_zero(name: str) -> None:
    assert not run(schedule(name), {"a": 0.5, "b": 0}, {"a": 9, "b": 9})[0].at_target
    assert run(schedule(name), {"a": 0, "b": 0}, {"a": 9, "b": 9})[0].at_target


def test_who_rewinds_and_who_searches() -> None:
    plans = schedules.all()
    assert [name for name, plan in plans.items() if plan.rewinds] == ["lottery_ticket"]
    assert [name for name, plan in plans.items() if plan.searches] == ["simulated_annealing"]


def test_one_task_at_each_temperature() -> None:
    """100 * .9^15 = 20.6 and 100 * .9^16 = 18.5, so 16 temperatures are 20 or more."""
    assert len(schedule("simulated_annealing")) == 16
    assert len(schedule("simulated_annealing", start_temperature=8, stop_temperature=1, cool_down_rate=0.5)) == 4
    assert len(schedule("simulated_annealing", start_temperature=5, stop_temperature=5)) == 1


@given(st.lists(st.tuples(sparsity, counts), min_size=1, max_size=8), st.integers(0, 99))
def test_annealing_stays_on_the_total_and_gives_larger_layers_more(layers: list[tuple[float, int]], seed: int) -> None:
    targets = {f"layer{index}": target for index, (target, _) in enumerate(layers)}
    sizes = {f"layer{index}": size for index, (_, size) in enumerate(layers)}
    wanted = sum(size * target for target, size in layers)
    assume(wanted <= sum(sizes.values()) - len(sizes))
    random = Random(seed)
    for task in run(schedule("simulated_annealing", seed=seed), targets, sizes, lambda task: random.random()):
        assert abs(pruned(sizes, task) - wanted) <= 1 + 1e-6
        for one in sizes:
            for other in sizes:
                if sizes[one] < sizes[other]:
                    slack = 1 / sizes[one] + 1 / sizes[other] + 1e-9
                    assert task.sparsities[one] <= task.sparsities[other] + slack


@settings(max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
def test_annealing_ends_at_any_target_with_an_element_in_each_layer(counts: list[int], target: float) -> None:
    sizes = {str(index): size for index, size in enumerate(counts)}
    for task in run(schedule("simulated_annealing"), dict.fromkeys(sizes, target), sizes):
        assert all(math.floor(sizes[name] * value + 1e-9) < sizes[name] for name, value in task.sparsities.items())


@pytest.mark.parametrize("target", [0.1, 0.5, 0.8, 0.98])
def test_no_allocation_is_tried_twice(target: float) -> None:
    done = run(schedule("simulated_annealing"), dict.fromkeys(LARGE, target), LARGE)
    assert len({tuple(task.sparsities.values()) for task in done}) == len(done)
    assert all(task.at_target for task in done)


def test_layers_of_one_size_are_not_ordered() -> None:
    sizes = {"a": 1000, "b": 1000}
    done = [run(schedule("simulated_annealing", seed=seed), dict.fromkeys(sizes, 0.5), sizes)[0] for seed in range(20)]
    assert {task.sparsities["a"] < task.sparsities["b"] for task in done} == {True, False}


def test_the_seed_decides() -> None:
    def first(seed: int) -> list[Task]:
        return run(schedule("simulated_annealing", seed=seed), all_at(0.7), SIZES, lambda task: task.step % 3)

    assert first(4) == first(4)
    assert first(4) != first(5)


def test_a_perturbation_moves_as_far_as_it_may_and_stays_between_zero_and_one() -> None:
    random = Random(0)
    drawn = [perturbed({"low": 0.1, "middle": 0.5, "high": 0.9}, 0.35, random) for _ in range(500)]
    span = {name: (min(each[name] for each in drawn), max(each[name] for each in drawn)) for name in drawn[0]}
    assert span["low"] == pytest.approx((0, 0.45), abs=0.01)
    assert span["middle"] == pytest.approx((0.15, 0.85), abs=0.01)
    assert span["high"] == pytest.approx((0.55, 1), abs=0.01)
    assert all(0 < value < 1 for each in drawn for value in each.values())


def accepted_share(loss: float, heat: float) -> float:
    random = Random(0)
    return sum(accepts(loss, heat, random) for _ in range(4000)) / 4000


def test_acceptance_falls_with_the_temperature_and_the_loss() -> None:
    assert accepted_share(1, heat=1) == pytest.approx(math.exp(-1), abs=0.03)
    assert accepted_share(1, heat=0.2) == pytest.approx(math.exp(-5), abs=0.01)
    assert accepted_share(0.1, heat=1) == pytest.approx(math.exp(-0.1), abs=0.03)
    assert accepted_share(0.1, heat=0.2) == pytest.approx(math.exp(-0.5), abs=0.03)
    assert accepted_share(1, heat=1e-9) == 0


def third_follows_second(second_score: float, seed: int) -> bool:
    """Whether the third task perturbs the second: told by distance, as each perturbation is a tenth of the last."""
    plan = schedule("simulated_annealing", cool_down_rate=0.1, stop_temperature=0.1, seed=seed)
    sizes = {"a": 10**8, "b": 10**8}
    tasks = plan.tasks(dict.fromkeys(sizes, 0.5), sizes)
    first = next(tasks).sparsities["a"]
    second = tasks.send(0.7).sparsities["a"]
    third = tasks.send(second_score).sparsities["a"]
    return abs(third - second) < abs(third - first)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_whatever_the_unit_of_the_scores_annealing_is_no_random_walk(scale: float) -> None:
    """At a tenth of the temperature a loss of average size passes with exp(-10), however small it is in points."""
    assert sum(third_follows_second(0.7 - scale, seed) for seed in range(60)) <= 6
    assert sum(third_follows_second(0.7 + scale, seed) for seed in range(60)) >= 54


def test_annealing_closes_in_on_the_best_allocation() -> None:
    """Accuracy falls with the distance of one layer from its best sparsity: late tasks are nearer than early ones."""

    def score(task: Task) -> float:
        return 0.9 - 0.3 * abs(task.sparsities["a"] - 0.4) - 0.3 * abs(task.sparsities["b"] - 0.7)

    early, late = 0.0, 0.0
    for seed in range(40):
        scores = [
            score(task)
            for task in run(schedule("simulated_annealing", seed=seed), dict.fromkeys(LARGE, 0.8), LARGE, score)
        ]
        early, late = early + sum(scores[:4]), late + sum(scores[-4:])
    assert late > early + 0.02 * 4 * 40


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
def test_annealing_must_hear_a_score(score: Any) -> None:
    tasks = schedule("simulated_annealing").tasks(all_at(0.5), SIZES)
    next(tasks)
    with pytest.raises(UsageError, match="the score of task 0: given"):
        tasks.send(score)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("agpp", {}, "given 'agpp'; expected the name of a schedule (did you mean agp?)"),
        ("linear", {"total_iteration": 0}, "linear.total_iteration: given 0; expected a whole number, 1 or more"),
        ("agp", {"total_iteration": 2.5}, "agp.total_iteration: given 2.5"),
        ("agp", {"total_iteration": True}, "given True"),
        ("lottery_ticket", {"total_iterations": 3}, "did you mean total_iteration?"),
        (
            "one_shot",
            {"total_iteration": 3},
            "given the argument 'total_iteration'",
        ),
        ("simulated_annealing", {"start_temperature": 0}, "start_temperature: given 0"),
        ("simulated_annealing", {"start_temperature": math.inf}, "a finite number above 0"),
        ("simulated_annealing", {"stop_temperature": 101}, "at most start_temperature, which is 100"),
        ("simulated_annealing", {"cool_down_rate": 1}, "cool_down_rate: given 1; expected a number between 0 and 1"),
        ("simulated_annealing", {"perturbation_magnitude": math.nan}, "perturbation_magnitude: given nan"),
        ("simulated_annealing", {"seed": "a"}, "seed: given 'a'; expected a whole number"),
    ],
)
def test_arguments_that_cannot_be(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match="given") as caught:
        schedule(name, **arguments)
    assert said in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", schedules.names())
@pytest.mark.parametrize(
    ("targets", "sizes", "said"),
    [
        ({"fc": 1.0}, {"fc": 10}, "the target of 'fc': given 1.0; expected a number from 0 up to but not 1"),
        ({"fc": "0.5"}, {"fc": 10}, "given '0.5'"),
        ({}, {}, "a sparsity for each budget"),
        ({"fc": 0.5}, {"conv": 10}, "those of fc"),
    ],
)
def test_targets_that_cannot_be(name: str, targets: Any, sizes: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        next(schedule(name).tasks(targets, sizes))
    assert said in str(caught.value)


def test_names_match_whatever_their_case() -> None:
    assert type(schedule("LotteryTicket")) is type(schedule("lottery-ticket")) is schedules.get("lottery_ticket")


def test_they_need_no_framework() -> None:
    code = (
        "import sys; from autoprune.compression.core.schedules import schedules; schedules.all(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pydantic', 'optuna')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
