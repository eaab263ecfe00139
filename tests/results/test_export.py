"""Exports: a table that spreadsheets can open safely, and JSON that holds everything."""

from __future__ import annotations

import csv
import io
import json

import pytest
from sample_workspace import Sample

from autoprune.errors import NotFoundError
from autoprune.records import JSON, TrialState
from autoprune.results import Results, export, write_csv, write_json
from autoprune.results.export import leaves


def csv_of(sample: Sample) -> str:
    file = io.StringIO(newline="")
    write_csv(Results(sample.workspace, sample.store), None, file)
    return file.getvalue()


def json_of(sample: Sample) -> JSON:
    file = io.StringIO()
    write_json(Results(sample.workspace, sample.store), None, file)
    return json.loads(file.getvalue(), parse_constant=pytest.fail)


def test_csv_has_a_row_per_trial_and_the_columns_of_all(sample: Sample) -> None:
    assert csv_of(sample) == (
        "number,state,value,duration,"
        "param.prune_method/_name,param.prune_method/conv0_sparsity,param.lr,metric.default,metric.sparsity\n"
        "0,SUCCEEDED,0.9,4.0,agp,0.0,,0.9,0.8\n"
        "1,SUCCEEDED,0.95,4.0,agp,0.1,,0.95,0.8\n"
        "2,SUCCEEDED,0.95,4.0,agp,0.2,,0.95,0.8\n"
        "3,FAILED,,5.0,,,0.30000000000000004,,\n"
        "4,INVALID,,4.0,,,0.4,NaN,\n"
        "5,EARLY_STOPPED,0.99,4.0,,,0.5,0.99,0.8\n"
        "6,USER_CANCELED,,,,,0.6000000000000001,,\n"
        "7,RUNNING,,,,,0.7000000000000001,,\n"
        "8,WAITING,,,,,0.8,,\n"
    )


def test_csv_of_an_experiment_without_trials(fresh: Sample) -> None:
    assert csv_of(fresh) == "number,state,value,duration\n"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd", "'+cmd"),
        ("-cmd", "'-cmd"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-0.5", "-0.5"),
        (-0.5, "-0.5"),
        (1e-7, "1e-07"),
        (True, "true"),
        (None, ""),
        ([1, "a"], '[1, "a"]'),
        ({}, "{}"),
        ('say "hi", then\ngo', 'say "hi", then\ngo'),
    ],
)
def test_cells(fresh: Sample, value: JSON, cell: str) -> None:
    fresh.add(0, {"x": value})
    rows = list(csv.reader(io.StringIO(csv_of(fresh), newline="")))
    assert rows == [["number", "state", "value", "duration", "param.x"], ["0", "WAITING", "", "", cell]]


def test_paths_tell_keys_with_slashes_from_nested_ones() -> None:
    tree = {"a/b": {"c": 1, "~": 2}, "a": {"b": 3}, "e": {}, "l": [1]}
    assert dict(leaves(tree)) == {"a~1b/c": 1, "a~1b/~0": 2, "a/b": 3, "e": {}, "l": [1]}


def test_json_holds_everything(sample: Sample) -> None:
    data = json_of(sample)
    assert [data["format"], data["version"], data["next"]] == ["autoprune-experiment", 1, None]
    assert data["experiment"]["config"]["maxTrialNumber"] == 9
    assert data["experiment"]["seed"] == 7
    results = Results(sample.workspace, sample.store)
    shown = results.trials().model_dump(mode="json")["items"]
    kept = [{key: item[key] for key in shown[0]} for item in data["items"]]
    assert kept == shown
    assert data["items"][0]["reports"] == results.reports(None, 0).model_dump(mode="json")["items"]
    assert data["items"][8]["reports"] == []


def test_exports_go_through_all_pages(fresh: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PAGE", 2)
    for number in range(5):
        fresh.add(number)
    assert [item["number"] for item in json_of(fresh)["items"]] == list(range(5))
    assert len(csv_of(fresh).splitlines()) == 6


def test_exports_have_no_nan(fresh: Sample) -> None:
    fresh.add(0, {"x": float("nan")})
    fresh.start(0)
    fresh.finish(0, TrialState.SUCCEEDED, 0.5, values={"default": 0.5, "loss": float("inf")})
    [item] = json_of(fresh)["items"]
    assert item["parameters"] == {"x": None}
    assert csv_of(fresh).splitlines()[1] == "0,SUCCEEDED,0.5,4.0,,0.5,"


def test_an_unknown_experiment(sample: Sample) -> None:
    with pytest.raises(NotFoundError):
        write_csv(Results(sample.workspace, sample.store), "nothing", io.StringIO())
