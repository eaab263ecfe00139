"""The best of trials some of which ran again: by hand, by numpy, and for any results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.records import Trial, TrialState
from autoprune.standings import Contest, leader_and_rival, noise, standings


def trial(number: int, value: float | None, **fields: object) -> Trial:
    state = TrialState.FAILED if value is None else TrialState.SUCCEEDED
    return Trial(**{"number": number, "state": state, "parameters": {"x": number}, "value": value, **fields})


def repeats(of: int, *values: float | None, first: int = 100, **fields: object) -> list[Trial]:
    return [trial(first + 10 * of + place, value, repeat_of=of, **fields) for place, value in enumerate(values)]


def order(trials: Sequence[Trial], *, highest: bool = True) -> list[int]:
    return [standing.trial.number for standing in standings(trials, highest=highest)]


def contest(trials: Sequence[Trial], *, highest: bool = True) -> Contest:
    found = leader_and_rival(trials, highest=highest)
    assert found is not None
    return found


def test_without_repeats_the_first_of_the_best_values_leads() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.9), trial(3, None)]
    assert order(trials) == [1, 2, 0]
    assert order(trials, highest=False) == [0, 1, 2]


def test_where_there_are_repeats_their_mean_alone_counts() -> None:
    """Trial 1 was lucky once; trial 3 has not been tried again, and cannot lead for that reason."""
    trials = [trial(0, 0.80), trial(1, 0.99), trial(3, 0.95), *repeats(0, 0.82, 0.84), *repeats(1, 0.70, 0.80)]
    first, second, third = standings(trials, highest=True)
    assert (first.trial.number, first.value, first.mean) == (0, 0.80, pytest.approx(0.83))
    assert (second.trial.number, second.mean) == (1, pytest.approx(0.75))
    assert (third.trial.number, third.mean, third.error) == (3, None, None)
    assert order(trials, highest=False) == [1, 0, 3]


def test_repeats_that_failed_do_not_count() -> None:
    trials = [trial(0, 0.8), trial(1, 0.9), *repeats(0, 0.7, None), *repeats(1, None, None)]
    first, second = standings(trials, highest=True)
    assert (first.trial.number, first.mean, len(first.repeats)) == (0, 0.7, 1)
    assert (second.trial.number, second.mean) == (1, None)


def test_the_infeasible_and_those_with_an_infeasible_repeat_are_out() -> None:
    trials = [trial(0, 0.9, feasible=False), trial(1, 0.8), trial(2, 0.7), *repeats(1, 0.9, 0.9, feasible=False)]
    assert order(trials) == [2]
    assert order(trials[:2]) == [1]
    assert leader_and_rival(trials[:1], highest=True) is None


def test_the_noise_is_pooled_over_sets_of_repeats() -> None:
    sets = [[0.80, 0.82, 0.90], [0.5, 0.6]]
    trials = [trial(0, 0.8), trial(1, 0.5), *repeats(0, *sets[0]), *repeats(1, *sets[1])]
    expected = math.sqrt((2 * np.var(sets[0], ddof=1) + np.var(sets[1], ddof=1)) / 3)
    assert noise(trials) == pytest.approx(expected)
    assert standings(trials, highest=True)[0].error == pytest.approx(expected / math.sqrt(3))


@pytest.mark.parametrize("values", [[], [[0.5]], [[0.5, 0.6]], [[0.5], [0.6], [0.7]]])
def test_too_few_repeats_tell_nothing_of_noise(values: list[list[float]]) -> None:
    assert noise([one for of, few in enumerate(values) for one in repeats(of, *few)]) is None


@pytest.mark.parametrize(
    ("others", "gap", "ahead"), [(0, 0.0291, False), (0, 0.0293, True), (1, 0.0317, False), (1, 0.0319, True)]
)
@pytest.mark.parametrize("highest", [True, False])
def test_ahead_is_by_students_t_test_shared_among_the_leaders(
    others: int, gap: float, ahead: bool, highest: bool
) -> None:
    """Two repeats each, a standard deviation of .01: the error of the difference is .01 * sqrt(1/2 + 1/2). From a
    table: t is 2.920 for 5 % and 2 degrees of freedom, 3.182 for 2.5 % and 3."""
    sign = 1 if highest else -1
    half = 0.01 / math.sqrt(2)
    trials = [
        trial(0, 0.5, origin="LAMP"),
        trial(1, 0.5 + sign),
        *repeats(0, 0.5 - half, 0.5 + half, origin="LAMP"),
        *repeats(1, 0.5 + sign * gap - half, 0.5 + sign * gap + half),
    ]
    for number in range(2, 2 + others):
        trials += [trial(number, 0.5), *repeats(number, 0.5 - half, 0.5 + half)]
    found = contest(trials, highest=highest)
    assert found.noise == pytest.approx(0.01)
    assert (found.winner.trial.number, found.rival and found.rival.trial.number) == (1, 0)
    assert found.ahead is ahead


def test_a_search_that_found_nothing_better_is_seldom_called_ahead() -> None:
    """Three leaders and a starting point of the same mean, two repeats each; 3 standard errors of 1000 searches."""
    random = np.random.default_rng(0)
    ahead = 0
    for _ in range(1000):
        trials = [trial(number, 0.5, origin="" if number else "ERK") for number in range(4)]
        ahead += bool(contest(trials + [one for of in range(4) for one in repeats(of, *random.normal(size=2))]).ahead)
    assert 5 < ahead < 50 + 3 * math.sqrt(1000 * 0.05 * 0.95)


def test_nobody_can_tell_without_a_starting_point_or_without_repeats() -> None:
    assert contest([trial(0, 0.5), *repeats(0, 0.5, 0.6, 0.7)]).ahead is None
    assert contest([trial(0, 0.5, origin="ERK"), trial(1, 0.9)]).ahead is None
    seeds_itself = [trial(0, 0.5, origin="ERK"), trial(1, 0.9), *repeats(0, 0.5, 0.5), *repeats(1, 0.9, 0.9)]
    assert contest(seeds_itself).ahead is None
    one_each = [trial(0, 0.5, origin="ERK"), trial(1, 0.9), *repeats(0, 0.5), *repeats(1, 0.9)]
    assert contest(one_each).ahead is None


def test_a_starting_point_that_wins_is_its_own_rival() -> None:
    found = contest([trial(0, 0.9, origin="ERK"), trial(1, 0.5), *repeats(0, 0.9, 0.8, 0.9), *repeats(1, 0.1, 0.2)])
    assert found.winner is found.rival
    assert found.ahead is False


values = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(values, st.lists(values, max_size=4)), min_size=1, max_size=6), st.booleans())
def test_the_leader_is_never_behind_another_by_what_counts(
    results: list[tuple[float, list[float]]], highest: bool
) -> None:
    trials = [trial(number, value) for number, (value, _) in enumerate(results)]
    trials += [one for number, (_, again) in enumerate(results) for one in repeats(number, *again)]
    first, *others = standings(trials, highest=highest)
    assert len(others) == len(results) - 1
    counted = [other for other in others if (other.mean is None) == (first.mean is None)]
    assert all(other.honest <= first.honest if highest else other.honest >= first.honest for other in counted)
    assert (first.mean is None) == all(not again for _, again in results)
