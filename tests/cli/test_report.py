"""`autoprune report`, and the report that a manager puts beside a model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sample_workspace import Sample

from autoprune.cli.main import cli
from autoprune.manager.finishing import report
from autoprune.manager.journal import Journal, Notice
from autoprune.store import Experiment, experiments


def run(sample: Sample, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments, "--workspace", str(sample.workspace.root)])


@pytest.fixture
def notices() -> list[Notice]:
    return []


@pytest.fixture
def journal(sample: Sample, notices: list[Notice]) -> Journal:
    return Journal(sample.store, sample.id, time.time, notices.append)


def stored(sample: Sample) -> Experiment:
    with sample.store.read() as tx:
        return experiments.get(tx, sample.id)


def test_a_report_replaces_the_file_that_is_named(sample: Sample, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    done = run(sample, "digits", "--out", str(file))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"wrote {file}\n")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>\n")
    assert sample.id in text


def test_by_default_it_has_the_name_of_the_experiment(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(sample).stderr == f"wrote {sample.id}.html\n"
    assert (tmp_path / f"{sample.id}.html").is_file()


def test_what_cannot_be_written_is_a_mistake(sample: Sample, tmp_path: Path) -> None:
    done = run(sample, "--out", str(tmp_path / "no" / "report.html"))
    assert done.exit_code == 2
    assert done.stderr == f"error: cannot write {tmp_path / 'no' / 'report.html'}: No such file or directory\n"
    assert run(sample, "nothing").exit_code == 2


def test_a_manager_puts_it_beside_the_best_model(sample: Sample, journal: Journal, notices: list[Notice]) -> None:
    best = sample.workspace.folder(sample.id) / "best"
    best.mkdir()
    report(stored(sample), sample.workspace, journal)
    assert notices == []
    assert sample.id in (best / "report.html").read_text(encoding="utf-8")
    assert [each.name for each in best.iterdir()] == ["report.html"]


def test_without_a_model_there_is_none(sample: Sample, journal: Journal, notices: list[Notice]) -> None:
    report(stored(sample), sample.workspace, journal)
    assert (notices, list(sample.workspace.folder(sample.id).iterdir())) == ([], [])


def test_a_report_that_fails_is_a_warning(sample: Sample, journal: Journal, notices: list[Notice]) -> None:
    """Its place is taken."""
    folder = sample.workspace.folder(sample.id)
    (folder / "best" / "report.html").mkdir(parents=True)
    (folder / ".report.html").mkdir()
    report(stored(sample), sample.workspace, journal)
    (warning,) = notices
    assert warning["event"] == "warning"
    assert "cannot write" in warning["message"] or "is a directory" in warning["message"]
    assert warning["message"].endswith(f"write it with: autoprune report {sample.id}")
