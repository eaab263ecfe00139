"""Files that `import` reads: our own exports, NNI's lists, and what is wrong with others."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_spaces import SPACES
from sample_workspace import Sample

from autoprune.errors import ConfigError, UsageError
from autoprune.records import JSON, Trial, TrialState
from autoprune.results import Results, write_json
from autoprune.results.import_ import Arrived, read_results
from autoprune.search_space import sample, space_from_plain

SPACE = space_from_plain({"x": {"_type": "uniform", "_value": [0, 1]}}, "test")


def read(data: JSON, **options: Any) -> Arrived:
    return read_results(json.dumps(data), "file.json", SPACE, **options)


@pytest.mark.parametrize("name", SPACES)
def test_what_export_wrote_comes_back(fresh: Sample, name: str) -> None:
    space, random = space_from_plain(SPACES[name], "test"), Random(name)
    drawn = [sample(space, random) for _ in range(5)]
    for number, parameters in enumerate(drawn):
        fresh.succeed(number, 0.1 * number, parameters)
    fresh.add(5, drawn[0])
    file = io.StringIO()
    write_json(Results(fresh.workspace, fresh.store), None, file)
    arrived = read_results(file.getvalue(), "file.json", space)
    assert [trial["parameters"] for trial in arrived.trials] == drawn
    assert [trial["metrics"] for trial in arrived.trials] == [
        {"default": 0.1 * number, "sparsity": 0.8} for number in range(5)
    ]
    assert arrived.left_out == ["items[5]: WAITING"]


def test_a_page_of_trials_is_read_too(sample: Sample) -> None:
    page = Results(sample.workspace, sample.store).trials().model_dump(mode="json")
    arrived = read_results(json.dumps(page), "file.json", SPACE, skip_misfits=True)
    assert arrived.trials == []
    states = ["FAILED", "INVALID", "EARLY_STOPPED", "USER_CANCELED", "RUNNING", "WAITING"]
    assert [text.split(": ")[1] for text in arrived.left_out] == ["not of this search space"] * 3 + states


@pytest.mark.parametrize(
    ("value", "metrics"),
    [
        (0.9, {"default": 0.9}),
        (1, {"default": 1}),
        ("0.93", {"default": 0.93}),
        ({"default": 0.5, "loss": 2}, {"default": 0.5, "loss": 2}),
        ('{"default": 0.5, "loss": "low"}', {"default": 0.5, "loss": "low"}),
        ({"default": 0.5, "loss": float("nan")}, {"default": 0.5, "loss": None}),
    ],
)
def test_values_as_nni_writes_them(value: JSON, metrics: JSON) -> None:
    arrived = read([{"parameter": {"x": 0.5}, "value": value, "id": "abc"}])
    assert arrived.trials == [{"parameters": {"x": 0.5}, "metrics": metrics}]


@pytest.mark.parametrize(
    "value",
    [None, "good", float("nan"), float("inf"), 10**400, "1" * 5000, "[" * 100_000, True, [0.5], {"loss": 1}, "[1]"],
)
def test_trials_without_a_number_are_left_out(value: JSON) -> None:
    arrived = read([{"parameter": {"x": 0.5}, "value": value}, {"parameter": {"x": 0.5}, "value": 1}])
    assert arrived.left_out == ["items[0]: no number for default"]
    assert len(arrived.trials) == 1


def test_every_objective_needs_a_number() -> None:
    items = [{"parameter": {"x": 0.5}, "value": {"default": 1, "macs": macs}} for macs in (3, "many")]
    arrived = read(items, objectives=("default", "macs"))
    assert arrived.trials == [{"parameters": {"x": 0.5}, "metrics": {"default": 1, "macs": 3}}]
    assert arrived.left_out == ["items[1]: no number for macs"]


def test_every_misfit_is_shown_with_its_place() -> None:
    items = [{"parameter": parameters, "value": 1} for parameters in ({"x": 2}, {"x": 0.5}, {"z": 0.5}, {"x": 10**400})]
    with pytest.raises(ConfigError) as raised:
        read(items)
    text = str(raised.value)
    assert "file.json: items[0]: x: given 2; expected a number from 0 to 1" in text
    assert "items[2]: x: given nothing" in text
    assert "items[2]: z: given a parameter; expected only those of the space (valid: x)" in text
    assert "items[3]: x: given inf" in text
    assert len(raised.value.problems) == 4
    assert len(read(items, skip_misfits=True).trials) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number,state\n0,SUCCEEDED\n", "file.json:1:1: given no JSON"),
        ("[1,\n2", "file.json:2:2: given no JSON"),
        ("", "no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "given 3; expected what `autoprune export --format json` writes"),
        ('{"format": "other", "items": []}', "given a table"),
        ('{"format": "autoprune-experiment", "version": 9, "items": []}', "upgrade autoprune"),
        ("[3]", r"items\[0\]: given 3; expected a trial"),
        ('[{"value": 1}]', r"items\[0\].parameters: given nothing"),
        ('[{"parameter": "x", "value": 1}]', r"items\[0\].parameter: given 'x'"),
        ('[{"parameters": {"x": 1}, "value": 1}]', r"items\[0\].state: given nothing; expected one of WAITING"),
        ('[{"parameters": {}, "state": "SUCCEEDED", "metrics": 3}]', r"items\[0\].metrics: given 3"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_results(text, "file.json", SPACE)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_whatever_stands_in_a_file_is_read_or_explained(thing: JSON) -> None:
    shapes = [thing, [thing], [{"parameter": thing, "value": 1}], [{"parameter": {"x": thing}, "value": thing}]]
    shapes += [{"items": thing}, [{"parameters": {"x": 1}, "state": thing, "metrics": thing, "value": thing}]]
    for shape in shapes:
        try:
            arrived = read(shape)
        except UsageError:
            continue
        assert all(0 <= trial["parameters"]["x"] <= 1 for trial in arrived.trials)


def test_results_that_are_there_already_are_known() -> None:
    arrived = read([{"parameter": {"x": x}, "value": 1} for x in (0.25, 0.5, 0.75)])
    before = [
        Trial(0, TrialState.SUCCEEDED, {"x": 0.25}, 1.0, {"default": 1}),
        Trial(1, TrialState.FAILED, {"x": 0.5}, 1.0, {"default": 1}, attempts=1),
        Trial(2, TrialState.SUCCEEDED, {"x": 0.75}, 1.0, {"default": 1, "loss": 2}),
    ]
    assert arrived.known(before) == 1
