"""Whole experiments over HTTP: what `autoprune export` writes."""

from __future__ import annotations

import csv
import io
import json

import pytest
from asgi_client import Client
from sample_workspace import Sample

from autoprune.results import Results, write_csv, write_json

EXPORT = "/api/v1/experiments/digits/export"


@pytest.mark.parametrize(
    ("format", "media_type", "write"),
    [("csv", "text/csv; charset=utf-8", write_csv), ("json", "application/json", write_json)],
)
def test_the_file_is_what_export_writes(
    client: Client, sample: Sample, format: str, media_type: str, write: object
) -> None:
    sample.succeed(9, 0.5, {"name": "ünï"})
    file = io.StringIO()
    assert callable(write)
    write(Results(sample.workspace, sample.store), None, file)
    answer = client.get(EXPORT, params={"format": format})
    assert answer.status_code == 200
    assert answer.content == file.getvalue().encode()
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="{sample.id}.{format}"'
    assert answer.headers["content-length"] == str(len(answer.content))


def test_json_unless_csv_is_asked_for(client: Client) -> None:
    assert json.loads(client.get(EXPORT).text)["format"] == "autoprune-experiment"


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\uff1d1"])
def test_no_text_is_a_formula(client: Client, sample: Sample, formula: str) -> None:
    """Neither a value nor a name: both come from who wrote the experiment."""
    sample.succeed(9, 0.5, {"given": formula, formula: 1})
    text = client.get(EXPORT, params={"format": "csv"}).content.decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert f"'{formula}" in rows[-1]
    assert not [cell for row in rows for cell in row if cell.startswith(formula[0]) and not cell[1:].isdigit()]


def test_an_experiment_of_thousands_of_reports(client: Client, sample: Sample) -> None:
    """More than is kept in memory."""
    for number in range(9, 1500):
        sample.add(number, {f"parameter{place}": "x" * 20 for place in range(30)})
    found = json.loads(client.get(EXPORT).content)
    assert [trial["number"] for trial in found["items"]] == list(range(1500))
