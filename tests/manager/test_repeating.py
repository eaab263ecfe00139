"""The leaders of a task's search run again: which, how often, with what seed, and through any interruption."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.config import ExperimentConfig
from autoprune.manager import launch
from autoprune.manager.repeating import contest, due, leaders
from autoprune.records import ExperimentState, StartingPoint, Trial, TrialState
from autoprune.results import Results
from autoprune.store import Experiment

from .conftest import Lab
from .test_changes import change, when
from .test_loop import send

NOISY = """
    import os, time, autoprune
    time.sleep(60)
    number = autoprune.get_sequence_id()
    noise = (number * 7919 % 13 - 6) / 100
    kept = "AUTOPRUNE_KEEP" in os.environ
    autoprune.report_final_result(
        {"default": autoprune.get_parameters()["method"]["sparsity"] + noise, "kept": int(kept)}
    )
    """
STARTS = [
    StartingPoint("uniform", {"method": {"_name": "agp", "sparsity": 0.2}}),
    StartingPoint("LAMP", {"method": {"_name": "level", "sparsity": 0.4}}),
]
TASK = {"task": "/nowhere/task.py:Task", "search": {"leaders": 2, "repeats": 2}}


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> list[ExperimentConfig]:
    """A task whose model is known, and of which nothing is made at the end but a note of it."""
    finished: list[ExperimentConfig] = []
    monkeypatch.setattr(launch.tasks, "study", lambda experiment, config, *others: (config, STARTS))
    monkeypatch.setattr(launch, "finish", lambda experiment, config, *others: finished.append(config))
    return finished


def searched(lab: Lab, script: str = NOISY, **settings: Any) -> Experiment:
    experiment = lab.create(script, **{**TASK, "maxTrialNumber": 6, **settings})
    lab.drive(experiment)
    return experiment


def repeats_of(every: Sequence[Trial]) -> list[int | None]:
    return [trial.repeat_of for trial in every if trial.repeat_of is not None]


def succeeded(number: int, value: float, **fields: Any) -> Trial:
    parameters = {"x": fields.pop("x", number)}
    return Trial(number, TrialState.SUCCEEDED, parameters, value, {"default": value}, **fields)


def test_the_best_and_the_best_starting_point_run_again_when_the_limit_is_reached(
    lab: Lab, without_torch: list[ExperimentConfig]
) -> None:
    experiment = searched(lab)
    every = lab.trials(experiment)
    own = every[:6]
    assert [trial.origin for trial in own] == ["uniform", "LAMP", "", "", "", ""]
    assert [trial.number for trial in every] == list(range(len(every)))
    best = [trial.number for trial in leaders(own, 2, highest=True)]
    start = max(own[:2], key=lambda trial: trial.value or 0).number
    assert start in best
    assert repeats_of(every) == best * 2
    for trial in every[6:]:
        original = own[trial.repeat_of or 0]
        assert (trial.parameters, trial.origin) == (original.parameters, original.origin)
        assert trial.value != original.value, "another number is another seed"
    assert len(without_torch) == 1


def test_weights_are_kept_of_starting_points_and_repeats(lab: Lab) -> None:
    every = lab.trials(searched(lab))
    assert [bool(trial.metrics["kept"]) for trial in every] == [
        bool(trial.origin) or trial.repeat_of is not None for trial in every
    ]
    plain = lab.create(NOISY, maxTrialNumber=1, startingPoints=[{"method": {"_name": "agp", "sparsity": 0.3}}])
    lab.drive(plain)
    assert [trial.metrics["kept"] for trial in lab.trials(plain)] == [0]


def test_the_best_is_that_of_the_best_repeats(lab: Lab) -> None:
    experiment = searched(lab)
    every = lab.trials(experiment)
    best = Results(lab.workspace, lab.store).best(experiment.id)
    means = {
        number: sum(trial.value or 0 for trial in every if trial.repeat_of == number) / 2
        for number in set(repeats_of(every))
    }
    assert (best.number, best.mean) == (max(means, key=lambda one: means[one] or 0), pytest.approx(max(means.values())))
    assert (best.repeats, best.value) == (2, every[best.number].value)
    assert best.noise is not None
    found = contest(every, highest=True)
    assert found["winner"]["number"] == best.number
    assert found["winner"]["repeats"] == [trial.number for trial in every if trial.repeat_of == best.number]
    assert found["winner"]["values"] == [trial.value for trial in every if trial.repeat_of == best.number]
    assert found["rival"]["origin"] in ("uniform", "LAMP")
    assert set(found) == {"winner", "rival", "noise", "ahead"}
    assert contest([], highest=True) is None


def test_no_repeats_where_there_is_no_task_no_wish_or_no_time(lab: Lab) -> None:
    plain = lab.create(NOISY, maxTrialNumber=3, search={"leaders": 2, "repeats": 2})
    lab.drive(plain)
    assert repeats_of(lab.trials(plain)) == []
    assert repeats_of(lab.trials(searched(lab, search={"leaders": 2, "repeats": 0}))) == []
    assert repeats_of(lab.trials(searched(lab, maxTrialNumber=None, maxExperimentDuration="5m"))) == []


def test_an_exhausted_space_is_followed_by_repeats(lab: Lab) -> None:
    space = {"x": {"_type": "choice", "_value": [1, 2, 3, 4]}}
    script = "import autoprune\nautoprune.report_final_result(autoprune.get_parameters().get('x', 0))"
    experiment = searched(lab, script, searchSpace=space, tuner={"name": "GridSearch"}, maxTrialNumber=None)
    every = lab.trials(experiment)
    assert [trial.value for trial in every[:6]] == [0, 0, 1, 2, 3, 4]
    assert repeats_of(every) == [5, 4, 0, 5, 4, 0]
    assert lab.drive(experiment).message == "the search space is exhausted"
    assert lab.trials(experiment) == every


def test_repeats_that_fail_are_not_repeated_for_ever_and_do_not_count(lab: Lab) -> None:
    script = NOISY.replace("time.sleep(60)", "autoprune.get_sequence_id() < 6 or 1 / 0")
    experiment = searched(lab, script, search={"leaders": 1, "repeats": 2})
    every = lab.trials(experiment)
    assert [trial.state for trial in every[6:]] == [TrialState.FAILED] * 2 * len(leaders(every, 1, highest=True))
    best = Results(lab.workspace, lab.store).best(experiment.id)
    assert (best.value, best.mean) == (max(trial.value or 0 for trial in every[:6]), None)


def test_repeats_run_side_by_side_after_all_others(lab: Lab) -> None:
    experiment = searched(lab, trialConcurrency=4)
    last = max(place for place, notice in enumerate(lab.notices) if notice.get("trial") in range(6))
    first = min(place for place, notice in enumerate(lab.notices) if "repeat_of" in notice)
    assert last < first
    again = lab.trials(experiment)[6:]
    assert len({trial.started for trial in again}) < len(again)


def test_a_higher_limit_after_the_repeats(lab: Lab) -> None:
    """More trials, and only what they change of the leaders runs again."""
    experiment = searched(lab)
    before = lab.trials(experiment)
    change(lab, experiment, "update", maxTrialNumber=12)
    assert lab.drive(experiment).state is ExperimentState.DONE
    every = lab.trials(experiment)
    assert every[: len(before)] == before
    own = [trial for trial in every if trial.repeat_of is None]
    assert len(own) == 12
    assert set(Counter(repeats_of(every)).values()) == {2}
    assert {trial.number for trial in leaders(own, 2, highest=True)} <= set(repeats_of(every))


def test_an_assessor_leaves_repeats_alone(lab: Lab) -> None:
    """Were the unlucky ones stopped, the mean of the others would be too good."""
    script = """
        import time, autoprune
        first = autoprune.get_sequence_id() < 6
        for step in range(5):
            time.sleep(60)
            autoprune.report_intermediate_result(1.0 if first else 0.0)
        autoprune.report_final_result(1.0 if first else 0.0)
        """
    experiment = searched(lab, script, assessor={"name": "Medianstop"})
    assert {trial.state for trial in lab.trials(experiment)} == {TrialState.SUCCEEDED}
    assert set(Counter(repeats_of(lab.trials(experiment))).values()) == {2}


@pytest.mark.parametrize("seed", range(6))
def test_stopped_anywhere_it_comes_to_the_same(lab: Lab, seed: int) -> None:
    undisturbed = [(trial.parameters, trial.repeat_of, trial.value) for trial in lab.trials(searched(lab))]
    chance = random.Random(seed)
    experiment = lab.create(NOISY, **TASK, maxTrialNumber=6)
    for trial in sorted(chance.sample(range(len(undisturbed)), 4)):
        event = chance.choice(["trial_started", "trial_ended"])
        lab.drive(experiment, when(event, trial, lambda: send(lab, experiment.id, "stop")))
    assert lab.drive(experiment).state is ExperimentState.DONE
    assert [(trial.parameters, trial.repeat_of, trial.value) for trial in lab.trials(experiment)] == undisturbed


DRIVER = """
    import sys
    from autoprune.cli.main import main
    from autoprune.manager import launch
    from autoprune.records import StartingPoint

    def start(name, sparsity):
        return StartingPoint(name, {"method": {"_name": "agp", "sparsity": sparsity}})

    starts = [start("a", 0.2), start("b", 0.4)]
    launch.tasks.study = lambda experiment, config, *others: (config, starts)
    launch.finish = lambda *given: None
    main()
    """


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_anywhere_each_starting_point_and_each_repeat_runs_once(lab: Lab, tmp_path: Path) -> None:
    script = NOISY.replace("time.sleep(60)", "time.sleep(0.1)")
    chance, driver = random.Random(1), tmp_path / "driver.py"
    driver.write_text(dedent(DRIVER))
    experiment = lab.create(script, "local", **TASK, maxTrialNumber=6, trialConcurrency=2)
    command = [
        sys.executable,
        str(driver),
        "resume",
        experiment.id,
        "--no-server",
        "--workspace",
        str(lab.workspace.root),
    ]
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.8, 2.5))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    every = lab.trials(experiment)
    assert [trial.origin for trial in every[:6]] == ["a", "b", "", "", "", ""]
    assert {trial.state for trial in every} == {TrialState.SUCCEEDED}
    assert set(Counter(repeats_of(every)).values()) == {2}
    best = {trial.number for trial in leaders(every, 2, highest=True)}
    assert set(repeats_of(every)) == best


def test_leaders_are_distinct_with_the_best_starting_point_among_them() -> None:
    trials = [
        succeeded(0, 0.1, origin="uniform"),
        succeeded(1, 0.2, origin="ERK"),
        succeeded(2, 0.9),
        succeeded(3, 0.95, x=2),
        succeeded(4, 0.8),
        succeeded(5, 0.99, feasible=False),
        Trial(6, TrialState.SUCCEEDED, {"x": 6}, 0.97, {"default": 0.97, "same_as": 2}),
        Trial(7, TrialState.EARLY_STOPPED, {"x": 7}, 0.98),
    ]
    assert [trial.number for trial in leaders(trials, 1, highest=True)] == [3, 1]
    assert [trial.number for trial in leaders(trials, 2, highest=True)] == [3, 4, 1]
    assert [trial.number for trial in leaders(trials, 9, highest=True)] == [3, 4, 1, 0]
    assert [trial.number for trial in leaders(trials, 1, highest=False)] == [0]
    assert leaders([], 3, highest=True) == []


def test_where_a_repeat_breaks_a_constraint_the_next_takes_the_place() -> None:
    trials = [
        succeeded(0, 0.1, origin="uniform"),
        succeeded(1, 0.2, origin="ERK"),
        succeeded(2, 0.9),
        succeeded(3, 0.8),
        succeeded(4, 0.9, x=2, repeat_of=2),
        succeeded(5, 0.2, x=1, repeat_of=1, origin="ERK"),
    ]
    assert [trial.number for trial in due(trials, 1, 1, highest=True)] == []
    fallen = [*trials[:4], *(replace(trial, feasible=False) for trial in trials[4:])]
    assert [trial.number for trial in leaders(fallen, 1, highest=True)] == [3, 0]
    assert [trial.number for trial in due(fallen, 1, 1, highest=True)] == [3, 0]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=8),
    st.integers(1, 4),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_due_comes_to_an_end_with_as_many_repeats_as_asked_for(
    results: list[tuple[float, bool]], count: int, repeats: int, chance: random.Random
) -> None:
    """However repeats end, one at a time."""
    trials = [succeeded(n, value, origin="a" if start else "") for n, (value, start) in enumerate(results)]
    expected = [trial.number for trial in leaders(trials, count, highest=True)] * repeats
    done: list[int] = []
    while again := due(trials, count, repeats, highest=True):
        done.append(again[0].number)
        state = chance.choice([TrialState.SUCCEEDED, TrialState.FAILED, TrialState.RUNNING, TrialState.USER_CANCELED])
        trials.append(Trial(len(trials), state, again[0].parameters, chance.random(), repeat_of=again[0].number))
    assert done == expected


def test_nothing_is_due_while_the_search_goes_on() -> None:
    running = Trial(1, TrialState.RUNNING, {"x": 1})
    assert due([succeeded(0, 0.5)], 1, 1, highest=True) != []
    assert due([succeeded(0, 0.5), running], 1, 1, highest=True) == []
