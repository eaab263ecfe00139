"""Trials that finish, run again and come from elsewhere: their order, and what each proposal had known of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_workspace import Sample, clock

from autoprune.records import Exit, ExperimentState, Trial, TrialState
from autoprune.store import Experiment, Store, experiments, open_store, trials

NOW = clock(0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(Path(tmp_path_factory.mktemp("store")) / "autoprune.db")
    yield opened
    opened.close()


_steps = st.lists(st.tuples(st.sampled_from(["create", "finish", "reopen", "import"]), st.integers(0, 99)), max_size=40)


@given(steps=_steps)
def test_what_a_proposal_knew_is_always_the_beginning_of_the_history(
    store: Store, steps: list[tuple[str, int]]
) -> None:
    """Whatever runs again leaves the history and what others knew of it, and comes back at its end."""
    finished: list[int] = []
    open_trials: list[int] = []
    knew: dict[int, list[int]] = {}
    with store.write() as tx:
        for id in [experiment.id for experiment in experiments.newest_first(tx)]:
            experiments.remove(tx, id)
        experiments.create(tx, Experiment("a", "a", {}, 0, ExperimentState.RUNNING, NOW))
        for step, chance in steps:
            number = trials.next_number(tx, "a")
            if step == "create":
                knew[number] = list(finished)
                trials.create(tx, "a", Trial(number, TrialState.WAITING, {}, created=NOW, known=len(finished)))
                open_trials.append(number)
            elif step == "import":
                order = trials.next_order(tx, "a")
                arrived = Trial(number, TrialState.SUCCEEDED, {}, 1.0, created=NOW, finish_order=order)
                trials.create_all(tx, "a", [arrived])
                finished.append(number)
            elif step == "finish" and open_trials:
                number = open_trials.pop(chance % len(open_trials))
                trials.finish(tx, "a", number, TrialState.FAILED, NOW)
                finished.append(number)
            elif step == "reopen" and any(number in knew for number in finished):
                candidates = [number for number in finished if number in knew]
                number = candidates[chance % len(candidates)]
                trials.reopen(tx, "a", number)
                finished.remove(number)
                open_trials.append(number)
                for known in knew.values():
                    if number in known:
                        known.remove(number)
        every = trials.all(tx, "a")
        created = trials.created(tx, "a")
    order = sorted((trial.finish_order, trial.number) for trial in every if trial.finish_order is not None)
    assert [number for _, number in order] == finished
    assert len({place for place, _ in order}) == len(finished)
    for number, known in knew.items():
        assert every[number].known == len(known)
        assert finished[: len(known)] == known
    assert created == len(knew)


def test_an_attempt_says_that_the_trial_ran_again(sample: Sample) -> None:
    with sample.store.write() as tx:
        trials.reopen(tx, sample.id, 3)
        trials.reopen(tx, sample.id, 6)
        last = trials.attempts(tx, sample.id, 3)[-1]
        assert (last.message, trials.get(tx, sample.id, 3).message) == (trials.AGAIN, trials.AGAIN)
        trials.start(tx, sample.id, 3, 2, NOW)
        trials.end_attempt(tx, sample.id, 3, 2, NOW, Exit(1), "exit code 1")
        trials.finish(tx, sample.id, 3, TrialState.FAILED, NOW, message="exit code 1")
        trials.reopen(tx, sample.id, 3)
        messages = [attempt.message for attempt in trials.attempts(tx, sample.id, 3)]
    assert messages == ["killed by signal 9", trials.AGAIN, f"exit code 1; {trials.AGAIN}"]


def test_successes_come_in_the_order_in_which_they_finished(fresh: Sample) -> None:
    for number in range(3):
        fresh.add(number)
        fresh.start(number)
    for number, value in [(2, 0.5), (0, 0.25), (1, 0.75)]:
        fresh.finish(number, TrialState.SUCCEEDED, value)
    with fresh.store.read() as tx:
        assert trials.successes(tx, fresh.id) == [0.5, 0.25, 0.75]
