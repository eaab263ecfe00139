"""Experiments with a task: a class in place of a command and a search space, a budget, bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_examples import Write

from autoprune.config import ExperimentConfig, load
from autoprune.errors import ConfigError

TASK = "task: task.py:Task\n"


@pytest.fixture(autouse=True)
def task_file(write: Write) -> Path:
    file = write("").parent.absolute() / "task.py"
    file.touch()
    return file


def loaded(write: Write, text: str) -> ExperimentConfig:
    return load(write(TASK + text)).config


def problem(write: Write, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(text))
    return str(caught.value)


def test_a_task_needs_nothing_else(write: Write, task_file: Path) -> None:
    config = loaded(write, "")
    assert config.task == f"{task_file}:Task"
    assert (config.trial_command, config.search_space, config.tuner.name) == (None, {}, "auto")
    assert (config.pruners, config.search.granularity, config.search.epochs) == (["gradual", "level"], "layer", 1)


@pytest.mark.parametrize(
    ("given", "pruners"),
    [
        ("budget: {sparsity: 0.9}", ["gradual", "level"]),
        ("budget: {parameters: 0.1}", ["gradual", "level"]),
        ("budget: {macs: 0.5}", ["l1"]),
        ("budget: {size: 0.5}", ["l1"]),
        ("budget: {latency: 0.5}", ["l1"]),
        ("budget: {macs: 0.5}\nsearch: {pruners: [fpgm]}", ["fpgm"]),
    ],
)
def test_the_pruners_are_those_that_serve_the_budget(write: Write, given: str, pruners: list[str]) -> None:
    assert loaded(write, given).pruners == pruners


def test_a_tuner_that_is_named_stays(write: Write) -> None:
    assert loaded(write, "tuner: {name: tpe}\n").tuner.name == "TPE"


@pytest.mark.parametrize(
    ("given", "kind", "amount"),
    [
        ("{sparsity: 0.95}", "sparsity", 0.95),
        ("{parameters: 250k}", "parameters", 250_000.0),
        ("{parameters: .5}", "parameters", 0.5),
        ("{macs: 1.5M}", "macs", 1_500_000.0),
        ("{macs: 2000000}", "macs", 2_000_000.0),
        ("{size: 500 kB}", "size", 500_000.0),
        ("{latency: 5ms}", "latency", "5ms"),
        ("{latency: 0.5}", "latency", 0.5),
    ],
)
def test_budgets(write: Write, given: str, kind: str, amount: Any) -> None:
    config = loaded(write, f"budget: {given}\n")
    assert config.budget is not None
    assert {name: value for name, value in config.budget if value is not None} == {kind: amount}
    assert ExperimentConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{sparsity: 95}", "budget.sparsity: given 95; expected"),
        ("{sparsity: 1}", "budget.sparsity"),
        ("{macs: 0}", "a share between 0 and 1, or an amount"),
        ("{macs: 1.5}", "a share between 0 and 1, or an amount"),
        ("{macs: many}", "a share between 0 and 1, or an amount"),
        ("{macs: true}", "a share between 0 and 1, or an amount"),
        ("{latency: 5}", "a time such as 5ms"),
        ("{latency: 0ms}", "a time such as 5ms"),
        ("{latency: 5 miles}", "a time such as 5ms"),
        (
            "{sparsity: 0.5, macs: 0.5}",
            "2:20: budget: given sparsity and macs; expected exactly one of sparsity, parameters, macs, size and "
            "latency",
        ),
        ("{flops: 0.5}", "budget.flops: given an unknown field"),
    ],
)
def test_budgets_that_are_none(write: Write, given: str, expected: str) -> None:
    assert expected in problem(write, f"{TASK}budget: {given}\n")


@pytest.mark.parametrize(
    ("amount", "reported", "highest"),
    [("5ms", "latency_ms", 5.25), ("800 us", "latency_ms", 0.84), (0.5, "latency_share", 0.525)],
)
def test_a_time_is_a_bound_of_what_trials_report(write: Write, amount: Any, reported: str, highest: float) -> None:
    config = loaded(write, f"budget: {{latency: {amount}}}\nconstraints: {{default: {{min: 80}}}}\n")
    assert config.constraints.keys() == {"default", reported}
    assert config.constraints[reported].max == pytest.approx(highest)
    assert ExperimentConfig.from_json(config.to_json()) == config
    own = loaded(write, f"budget: {{latency: {amount}}}\nconstraints: {{{reported}: {{max: 0.1}}}}\n")
    assert own.constraints[reported].max == 0.1
    assert loaded(write, "budget: {macs: .5}\n").constraints == {}


def test_time_is_measured_by_one_trial_at_a_time(write: Write) -> None:
    assert problem(write, f"{TASK}budget: {{latency: 5ms}}\ntrialConcurrency: 2\n").endswith(
        "trialConcurrency: given 2; expected 1 beside budget.latency (latency is measured, so trials run one at a "
        "time; write trialConcurrency: 1)"
    )
    assert loaded(write, "budget: {latency: 5ms}\ntrialConcurrency: 1\n").trial_concurrency == 1
    assert loaded(write, "budget: {macs: .5}\ntrialConcurrency: 2\n").trial_concurrency == 2
    running = loaded(write, "budget: {latency: 5ms}\n").to_json()
    with pytest.raises(ConfigError, match=r"trialConcurrency: given 2; expected 1 beside budget\.latency"):
        ExperimentConfig.from_json({**running, "trialConcurrency": 2})


def test_a_file_that_is_not_there(write: Write) -> None:
    assert "expected a file that exists (did you mean task.py?)" in problem(write, "task: tasks.py:Task\n")


@pytest.mark.parametrize("given", ["task.py", "task:Task", "task.py:", "task.py:my-task"])
def test_a_task_is_a_file_and_a_class(write: Write, given: str) -> None:
    assert "a file and a class in it, such as task.py:Task" in problem(write, f"task: '{given}'\n")


def test_what_a_task_brings_itself(write: Write) -> None:
    said = problem(write, f"{TASK}trialCommand: python trial.py\nsearchSpaceFile: search_space.json\n")
    assert "trialCommand: given 'python trial.py'; expected no trialCommand beside task" in said
    assert "searchSpaceFile: given 'search_space.json'; expected no searchSpaceFile beside task" in said


def test_what_says_nothing_without_a_task(write: Write) -> None:
    said = problem(write, "searchSpaceFile: search_space.json\ntrialCommand: x\nbudget: {sparsity: .5}\n")
    assert "budget.sparsity: given 0.5; expected task beside it" in said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{default: {min: 2, max: 1}}", "min not above max"),
        ("{default: {}}", "min, max, or both"),
        ("{default: {least: 1}}", "least"),
        ("{default: 3}", "constraints.default"),
    ],
)
def test_bounds_that_are_none(write: Write, given: str, expected: str) -> None:
    assert expected in problem(write, f"{TASK}constraints: {given}\n")


def test_bounds(write: Write) -> None:
    config = loaded(write, "constraints: {macs: {max: 1000}, default: {min: 80, max: 100}}\n")
    bounds = {name: (each.min, each.max) for name, each in config.constraints.items()}
    assert bounds == {"macs": (None, 1000.0), "default": (80.0, 100.0)}
    assert ExperimentConfig.from_json(config.to_json()) == config
