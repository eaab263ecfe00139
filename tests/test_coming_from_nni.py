"""docs/coming-from-nni.md is complete and true: held against the tables that the code goes by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click import Group

import autoprune
from autoprune.assessors import assessors
from autoprune.cli.main import COMMANDS, cli
from autoprune.config import load_plain
from autoprune.config.nni import IGNORED, PLATFORMS, REFUSED, TUNERS
from autoprune.config.translate import CLASS_FILE, leaves
from autoprune.errors import ConfigError
from autoprune.registry import fold
from autoprune.search_space.parse import SHAPES
from autoprune.tuners import tuners

PAGE = (Path(__file__).parent.parent / "docs" / "coming-from-nni.md").read_text()
CONFIG: dict[str, Any] = {"searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}}, "trialCommand": "true"}


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's tables, without their heads."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def named(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def plain(field: str) -> str:
    return fold(field.split(":")[0])


FIELDS = {plain(name): row for row in rows("Experiment files") for cell in row[:2] for name in named(cell)}
ALGORITHMS = [
    (kind, name, row)
    for kind, heading in (("tuner", "Tuners"), ("assessor", "Assessors and advisors"))
    for row in rows(heading)
    for name in named(row[0])
    if name != "advisor"
]


@pytest.mark.parametrize("field", IGNORED)
def test_fields_that_are_not_used(field: str) -> None:
    assert FIELDS[fold(field)][2].startswith("Not used")


@pytest.mark.parametrize("field", REFUSED)
def test_fields_that_are_errors(field: str) -> None:
    assert FIELDS[fold(field)][2].startswith("An error")


@pytest.mark.parametrize(("field", "old"), [pair for pair in leaves() if pair[1]], ids=str)
def test_fields_by_both_names(field: str, old: str) -> None:
    assert FIELDS[fold(field)] is FIELDS[fold(old)]
    assert fold(CLASS_FILE) in FIELDS


@pytest.mark.parametrize("field", [field for field, _ in leaves()])
def test_every_field_there_is(field: str) -> None:
    assert f"`{field}`" in section("Experiment files")


@pytest.mark.parametrize("name", PLATFORMS)
def test_platforms(name: str) -> None:
    assert name in [fold(found) for row in rows("Platforms") for found in named(row[0])]
    with pytest.raises(ConfigError):
        load_plain({**CONFIG, "trainingServicePlatform": name})


@pytest.mark.parametrize(("kind", "name", "row"), ALGORITHMS, ids=str)
def test_what_is_said_to_run_does(kind: str, name: str, row: list[str]) -> None:
    registry: Any = {"tuner": tuners, "assessor": assessors}[kind]
    found = {fold(known) for known in registry.names()} & {fold(name), fold(name).removesuffix(kind)}
    assert row[1] == ("yes" if found else "no")


@pytest.mark.parametrize("name", TUNERS)
def test_tuners_that_are_not_here_have_the_remedy_of_the_error(name: str) -> None:
    (row,) = [row for kind, found, row in ALGORITHMS if kind == "tuner" and fold(found) == name]
    assert row[2] == TUNERS[name]


@pytest.mark.parametrize(("kind", "registry"), [("Tuners", tuners), ("Assessors and advisors", assessors)])
def test_every_tuner_and_assessor_is_named(kind: str, registry: Any) -> None:
    assert set(registry.names()) <= set(named(section(kind)))


def test_search_space_types() -> None:
    same = {name for row in rows("Search spaces") if row[1].startswith("The same") for name in named(row[0])}
    assert same == set(SHAPES)


def test_calls_of_the_trial_api_are_there() -> None:
    calls = re.findall(r"`nni\.(\w+)\(", section("The trial API"))
    assert len(calls) == 7
    assert [name for name in calls if not callable(getattr(autoprune, name))] == []


def test_commands_and_their_options_are_there() -> None:
    for text in named(PAGE):
        if not text.startswith("autoprune ") or text.startswith("autoprune -"):
            continue
        words = text.split()[1:]
        assert words[0] in COMMANDS, text
        command = cli.get_command(None, words[0])  # type: ignore[arg-type]
        if isinstance(command, Group):
            command = command.get_command(None, words[1])  # type: ignore[arg-type]
        assert command is not None, text
        options = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("-")} <= options, text


def test_methods_are_there() -> None:
    for row in rows("Experiments from Python"):
        for text in named(row[1]):
            if method := re.match(r"(?:Experiment\.)?(\w+)\(", text):
                known = method[1] == "Experiment" or hasattr(autoprune.Experiment, method[1])
                assert known, text
