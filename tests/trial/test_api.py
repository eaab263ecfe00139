"""The trial API, inside an attempt and alone."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import autoprune
from autoprune import protocol
from autoprune.errors import TrialError
from autoprune.protocol import ReportReader

SPACE = """{
  "prune_method": {"_type": "choice", "_value": [
    {"_name": "agp", "conv0_sparsity": {"_type": "uniform", "_value": [0.1, 0.9]},},
    {"_name": "level", "conv0_sparsity": {"_type": "uniform", "_value": [0.1, 0.9]},},
  ]}
}"""


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / protocol.PARAMETERS).write_text(json.dumps({"prune_method": {"_name": "agp", "rate": 0.3}, "lr": 0.1}))
    for name, value in (
        (protocol.EXPERIMENT_VARIABLE, "exp-1"),
        (protocol.TRIAL_VARIABLE, "exp-1-4"),
        (protocol.SEQUENCE_VARIABLE, "4"),
        (protocol.ATTEMPT_VARIABLE, str(tmp_path)),
        (protocol.OUTPUT_VARIABLE, str(tmp_path / "output")),
    ):
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.usefixtures("attempt")
def test_parameters_and_ids() -> None:
    assert autoprune.get_parameters() == autoprune.get_next_parameter()
    assert autoprune.get_current_parameter() == {"prune_method": {"_name": "agp", "rate": 0.3}, "lr": 0.1}
    assert autoprune.get_current_parameter("prune_method") == {"_name": "agp", "rate": 0.3}
    with pytest.raises(TrialError, match="did you mean prune_method"):
        autoprune.get_current_parameter("prune_methd")
    assert autoprune.get_experiment_id() == "exp-1"
    assert autoprune.get_trial_id() == "exp-1-4"
    assert autoprune.get_sequence_id() == 4
    assert autoprune.get_output_dir().is_dir()


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (0.5, 0.5),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array(0.25), 0.25),
        (torch.tensor(0.75), 0.75),
        (torch.tensor([2]), 2.0),
        ({"default": torch.tensor(0.5), "sparsity": np.float64(0.8)}, 0.5),
        ({"default": 1, "per_layer": [np.int64(3), 4], "note": "ok", "none": None}, 1.0),
    ],
)
def test_reports_become_plain_numbers(attempt: Path, given: object, value: float) -> None:
    autoprune.report_intermediate_result(given)
    autoprune.report_final_results(given)
    first, second = ReportReader(attempt, 0).read()
    assert (first.value, first.final) == (value, False)
    assert (second.value, second.final) == (value, True)
    json.dumps(dict(second.values), allow_nan=False)


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf, torch.tensor(float("nan"))])
def test_numbers_that_are_not_finite_arrive_as_such(attempt: Path, given: object) -> None:
    autoprune.report_final_result(given)
    (report,) = ReportReader(attempt, 0).read()
    assert report.value is None
    assert report.values["default"] is None


def test_what_json_or_utf8_cannot_hold_becomes_what_they_can(attempt: Path) -> None:
    autoprune.report_final_result({"default": 10**400, "huge": [10**5000, 1e308], "\ud800": "half \udfff"})
    (report,) = ReportReader(attempt, 0).read()
    assert report.value is None
    assert report.values == {"default": None, "huge": [None, 1e308], "?": "half ?"}


@pytest.mark.parametrize(
    "line",
    [
        '{"seq": 0, "final": true, "values": {"default": 1e999}, "time": "t"}',
        '{"seq": 0, "final": true, "values": {"default": NaN}, "time": "t"}',
        '{"seq": 0, "final": true, "values": {"default": ' + "9" * 400 + '}, "time": "t"}',
    ],
)
def test_numbers_beyond_json_in_a_line_written_by_hand(attempt: Path, line: str) -> None:
    (attempt / protocol.METRICS).write_text(line + "\n")
    (report,) = ReportReader(attempt, 0).read()
    assert (report.value, report.values) == (None, {"default": None})


NO_REPORTS = ["[" * 5000, "{}", "[]", "null", '{"values": {"default": "x"}, "final": 1, "time": 1}']


@pytest.mark.parametrize("line", NO_REPORTS)
def test_lines_that_are_no_reports(attempt: Path, line: str) -> None:
    (attempt / protocol.METRICS).write_text(line + "\n")
    reader = ReportReader(attempt, 0)
    assert reader.read() == []
    assert len(reader.broken) == 1


@pytest.mark.parametrize(
    "given", ["0.5", None, True, {}, {"accuracy": 0.5}, {"default": "high"}, np.zeros(2), torch.zeros(3), object()]
)
def test_what_is_no_result_is_refused_in_the_trial(attempt: Path, given: object) -> None:
    with pytest.raises(TrialError, match="expected"):
        autoprune.report_final_result(given)
    assert ReportReader(attempt, 0).read() == []


def test_many_writers_tear_no_line(attempt: Path) -> None:
    report = "autoprune.report_intermediate_result({'default': step, 'pad': 'x' * 500})"
    script = f"import autoprune\nfor step in range(200): {report}"
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    reader = ReportReader(attempt, 0)
    reports = reader.read()
    assert len(reports) == 600
    assert reader.broken == []
    assert [report.seq for report in reports] == list(range(600))


def test_the_reader_waits_for_the_end_of_a_line(attempt: Path) -> None:
    reader = ReportReader(attempt, 0)
    autoprune.report_intermediate_result(1.0)
    whole = (attempt / protocol.METRICS).read_bytes()
    with (attempt / protocol.METRICS).open("ab") as file:
        file.write(whole[:10])
        file.flush()
        assert [report.value for report in reader.read()] == [1.0]
        assert reader.read() == []
        file.write(whole[10:])
        file.write(b"not a report\n")
    assert [(report.value, report.seq) for report in reader.read()] == [(1.0, 1)]
    assert reader.broken == ["not a report"]


def run_alone(tmp_path: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "trial.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
    return subprocess.run(
        [sys.executable, "trial.py"], cwd=tmp_path, env={**environment, **variables}, capture_output=True, text=True
    )


def test_alone_with_a_search_space(tmp_path: Path) -> None:
    (tmp_path / "search_space.json").write_text(SPACE)
    script = (
        "import autoprune\nprint(autoprune.get_parameters())\n"
        "autoprune.report_intermediate_result(.5)\nautoprune.report_final_result({'default': .75, 'sparsity': .8})\n"
    )
    result = run_alone(tmp_path, script, AUTOPRUNE_SEARCH_SPACE="search_space.json")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "{'prune_method': {'_name': 'agp', 'conv0_sparsity': 0.5}}\n"
    assert "autoprune: intermediate 0: 0.5" in result.stderr
    assert "autoprune: final: {'default': 0.75, 'sparsity': 0.8}" in result.stderr


def test_alone_without_one_says_what_to_do(tmp_path: Path) -> None:
    result = run_alone(tmp_path, "import autoprune\nautoprune.get_parameters()\n")
    assert result.returncode == 1
    assert "AUTOPRUNE_SEARCH_SPACE" in result.stderr
    assert "autoprune run config.yml" in result.stderr


def test_importing_is_light(tmp_path: Path) -> None:
    script = (
        "import sys, autoprune\nautoprune.get_experiment_id\nautoprune.scale_to_target\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'sqlalchemy', 'optuna', 'yaml', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = run_alone(tmp_path, script)
    assert result.returncode == 0, result.stderr


def test_every_name_resolves() -> None:
    for name in autoprune.__all__:
        assert getattr(autoprune, name) is not None
    assert set(dir(autoprune)) >= set(autoprune.__all__)
    with pytest.raises(AttributeError, match="no attribute 'get_parameter'"):
        _ = autoprune.get_parameter  # type: ignore[attr-defined]
