"""Starting points must be of the search space; each mistake is named where it stands."""

from __future__ import annotations

import pytest
from config_examples import Write

from autoprune.config import load, load_plain
from autoprune.errors import ConfigError

HEAD = "searchSpaceFile: search_space.json\ntrialCommand: python trial.py\n"
SPACE = """{"method": {"_type": "choice", "_value": [
    {"_name": "agp", "conv0": {"_type": "uniform", "_value": [0, 1]}, "a/b": {"_type": "choice", "_value": [1, 2]}},
    {"_name": "level"}]}}"""


def problems(write: Write, points: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(f"{HEAD}startingPoints:\n{points}", SPACE))
    return str(caught.value)


def test_points_of_the_space(write: Write) -> None:
    points = "  - method: {_name: agp, conv0: 0.5, a/b: 2}\n  - method: {_name: level}\n"
    config = load(write(f"{HEAD}startingPoints:\n{points}", SPACE)).config
    assert config.starting_points == [
        {"method": {"_name": "agp", "conv0": 0.5, "a/b": 2}},
        {"method": {"_name": "level"}},
    ]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (
            "{method: {_name: agp, conv0: 3, a/b: 2}}",
            "config.yml:4:34: startingPoints.0.method/agp/conv0: given 3; expected",
        ),
        (
            "{method: {_name: agp, conv0: 0.5, a/b: 9}}",
            "config.yml:4:44: startingPoints.0.method/agp/a/b: given 9; expected one of: 1, 2",
        ),
        ("{method: {_name: agp, a/b: 1}}", "config.yml:4:14: startingPoints.0.method/agp/conv0: given nothing"),
        ("{method: {_name: ag}}", "config.yml:4:14: startingPoints.0.method: given _name 'ag'; expected one of: agp"),
        (
            "{method: {_name: level}, lr: 1}",
            "config.yml:4:34: startingPoints.0.lr: given a parameter; expected only those of the space",
        ),
        ("{}", "config.yml:4:5: startingPoints.0.method: given nothing; expected a value"),
        ("3", "config.yml:4:5: startingPoints.0: given 3; expected a table"),
    ],
)
def test_points_that_are_not(write: Write, point: str, said: str) -> None:
    assert said in problems(write, f"  - {point}\n")


def test_all_mistakes_are_shown_together(write: Write) -> None:
    said = problems(write, "  - {method: {_name: ag}}\n  - {method: {_name: level}}\n  - {lr: 3}\n")
    assert said.startswith("3 problems:")
    assert "startingPoints.2.method: given nothing" in said
    assert "startingPoints.2.lr" in said


def test_no_list(write: Write) -> None:
    with pytest.raises(ConfigError, match="startingPoints: given 3; expected a list"):
        load(write(f"{HEAD}startingPoints: 3\n", SPACE))


def test_the_same_in_a_dict() -> None:
    space = {"x": {"_type": "randint", "_value": [0, 3]}}
    fields = {"searchSpace": space, "trialCommand": "true", "startingPoints": [{"x": 1}, {"x": 3}]}
    with pytest.raises(ConfigError, match=r"startingPoints\.1\.x: given 3"):
        load_plain(fields)
    assert load_plain({**fields, "startingPoints": [{"x": 1}]}).config.starting_points == [{"x": 1}]


def test_those_of_a_task_are_read_later(write: Write) -> None:
    file = write("task: task.py:Task\nstartingPoints: [{prune_method: {_name: level, conv0_sparsity: 0.5}}]\n")
    (file.parent / "task.py").touch()
    assert len(load(file).config.starting_points) == 1
