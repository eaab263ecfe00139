"""A trial of a task: what it reports, what it keeps, and what it does not do twice."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import autoprune.search.trial
from autoprune.compression.cost import measure
from autoprune.protocol import (
    ATTEMPT_VARIABLE,
    KEEP_VARIABLE,
    OUTPUT_VARIABLE,
    PARAMETERS,
    SEQUENCE_VARIABLE,
    ReportReader,
)
from autoprune.records import Metric
from autoprune.search.checkpoint import CHECKPOINT, KEPT, replacing
from autoprune.search.settings import VARIABLE, Settings
from autoprune.search.space import read_parameters
from tests.search.bench import Bench

KINDS = [("Points", "level", {"sparsity": 0.8}), ("Images", "l1", {"macs": 0.5})]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def final(reports: list[Metric]) -> Metric:
    assert [report.final for report in reports] == [False] * (len(reports) - 1) + [True]
    return reports[-1]


def lines(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()]


def test_single_weights_go_to_the_budget(bench: Bench) -> None:
    parameters = bench.parameters(0.5, 0.9)
    values = final(bench.trial(0, parameters, keep=True)).values
    sizes = {"1": 64 * 24, "3": 24 * 16, "5": 16 * 4}
    assert {name: layer["of"] for name, layer in values["layers"].items()} == sizes
    total = sum(sizes.values())
    assert sum(layer["kept"] for layer in values["layers"].values()) == math.floor(total - 0.8 * total)
    for layer in values["layers"].values():
        assert layer["sparsity"] == layer["requested"] == pytest.approx(1 - layer["kept"] / layer["of"])
    assert values["layers"]["5"]["sparsity"] not in read_parameters(parameters)[1].values()
    assert values["sparsity"] == pytest.approx(0.8, abs=1 / total)
    model = bench.load(bench.output(0) / KEPT)
    kept = {name: int(model.get_submodule(name).weight.count_nonzero()) for name in sizes}
    assert kept == {name: layer["kept"] for name, layer in values["layers"].items()}
    dense = measure(bench.job.dense(), bench.job.example, latency=False)
    assert (values["macs"], values["bytes"]) == (dense.macs, dense.dense_bytes)
    assert values["parameters"] == sum(kept.values()) + 24 + 16 + 4


def test_filters_really_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, task="Images", pruner="l1", budget={"macs": 0.5})
    values = final(bench.trial(0, bench.parameters(0.5), keep=True)).values
    model = bench.load(bench.output(0) / KEPT)
    cost = measure(model, bench.job.example, latency=False)
    assert (values["macs"], values["parameters"], values["bytes"]) == (cost.macs, cost.nonzeros, cost.dense_bytes)
    dense = measure(bench.job.dense(), bench.job.example, latency=False)
    assert cost.macs is not None
    assert dense.macs is not None
    assert 0 < cost.macs <= 0.5 * dense.macs
    for name, layer in values["layers"].items():
        assert layer["kept"] == model.get_submodule(name).out_channels
        assert layer["requested"] == pytest.approx(1 - layer["kept"] / layer["of"])
    assert any(layer["kept"] < layer["of"] for layer in values["layers"].values())
    assert bench.job.score(model)["default"] == values["default"]


@pytest.mark.parametrize(("epochs", "assessed", "parts"), [
    (1, False, [1]), (3, False, [3]), (4, False, [1, 3]), (9, False, [2, 7]), (1, True, [1]), (3, True, [1, 1, 1]),
])  # fmt: skip
def test_reports_after_each_part_of_the_training(bench: Bench, epochs: int, assessed: bool, parts: list[int]) -> None:
    log = bench.folder / "log"
    bench.epochs, bench.assessed, bench.arguments = epochs, assessed, {"log": str(log)}
    assert Settings.of(bench.settings).parts == parts
    reports = bench.trial(0, bench.parameters(0.5))
    final(reports)
    assert len(reports) == len(parts)
    assert lines(log) == parts
    assert not (bench.output(0) / CHECKPOINT).exists()


def test_what_is_pruned_stays_so_in_every_part(bench: Bench) -> None:
    bench.epochs, bench.assessed = 3, True
    values = final(bench.trial(0, bench.parameters(0.5), keep=True)).values
    model = bench.load(bench.output(0) / KEPT)
    bench.job.train(model, 2, "more")
    assert sum(int(model[place].weight.count_nonzero()) for place in (1, 3, 5)) == sum(
        layer["kept"] for layer in values["layers"].values()
    )


@pytest.mark.parametrize(("task", "pruner", "budget"), KINDS)
def test_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, pruner: str, budget: dict[str, float]
) -> None:
    """And comes to what it comes to undisturbed."""
    whole = Bench(tmp_path / "whole", monkeypatch, task=task, pruner=pruner, budget=budget, epochs=3, assessed=True)
    parameters = whole.parameters(0.5, 0.7)
    expected = whole.trial(4, parameters)
    log = tmp_path / "log"
    whole.folder = tmp_path / "cut"
    whole.arguments = {"log": str(log), "dies": 2}
    settings = tmp_path / "cut" / "search.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps(whole.settings))
    job = whole.job
    del job
    codes, reports = [], []
    for attempt in range(2):
        folder = tmp_path / "cut" / str(attempt)
        folder.mkdir()
        (folder / PARAMETERS).write_text(json.dumps(parameters))
        environment = {
            **os.environ,
            VARIABLE: str(settings),
            ATTEMPT_VARIABLE: str(folder),
            OUTPUT_VARIABLE: str(tmp_path / "cut" / "output"),
            SEQUENCE_VARIABLE: "4",
        }
        script = Path(autoprune.search.trial.__file__).parent / "entry" / "trial.py"
        codes.append(subprocess.run([sys.executable, str(script)], env=environment, check=False).returncode)
        reports.append(ReportReader(folder, attempt).read())
    assert codes == [-signal.SIGKILL, 0]
    assert [len(each) for each in reports] == [1, 3]
    assert lines(log) == [1, 1, 1, 1]
    assert [each.values for each in reports[1]] == [each.values for each in expected]


def test_an_allocation_is_not_trained_twice(bench: Bench) -> None:
    log = bench.folder / "log"
    bench.arguments = {"log": str(log)}
    first = final(bench.trial(0, bench.parameters(0.5, 0.9))).values
    proportional = bench.trial(1, bench.parameters(0.5, 0.9))
    other = final(bench.trial(2, bench.parameters(0.9, 0.5))).values
    assert final(proportional).values == {**first, "same_as": 0}
    assert "same_as" not in first
    assert "same_as" not in other
    assert lines(log) == [1, 1]


def test_a_trial_that_runs_again_or_keeps_its_weights_trains(bench: Bench) -> None:
    log = bench.folder / "log"
    bench.arguments = {"log": str(log)}
    parameters = bench.parameters(0.5, 0.9)
    first = final(bench.trial(0, parameters))
    again = final(bench.trial(0, parameters, attempt=1))
    repeat = final(bench.trial(1, parameters, keep=True))
    later = final(bench.trial(2, parameters))
    assert again.values == first.values
    assert lines(log) == [1, 1, 1]
    assert "same_as" not in repeat.values
    assert later.values == {**first.values, "same_as": 0}
    assert (bench.output(1) / KEPT).is_dir()
    assert not (bench.output(0) / KEPT).exists()


def test_a_repeat_has_a_seed_of_its_own(bench: Bench) -> None:
    parameters = bench.parameters(0.5, 0.9)
    for number in (0, 1):
        bench.trial(number, parameters, keep=True)
    one, other = (bench.load(bench.output(number) / KEPT) for number in (0, 1))
    assert not torch.equal(one[1].weight, other[1].weight)
    assert torch.equal(one[1].weight == 0, other[1].weight == 0)


def test_what_is_no_number_is_reported_and_not_remembered(bench: Bench) -> None:
    bench.task = "Diverging"
    parameters = bench.parameters(0.5)
    assert [report.value for report in bench.trial(0, parameters)] == [None]
    assert "same_as" not in final(bench.trial(1, parameters)).values


def test_the_environment_says_whether_weights_are_kept(bench: Bench) -> None:
    settings = bench.folder / "search.json"
    settings.write_text(json.dumps(bench.settings))
    parameters = bench.parameters(0.5)
    for number, keep in enumerate((None, "1")):
        attempt = bench.folder / "attempts" / str(number)
        attempt.mkdir(parents=True)
        (attempt / PARAMETERS).write_text(json.dumps(parameters))
        bench.patch.setenv(VARIABLE, str(settings))
        bench.patch.setenv(ATTEMPT_VARIABLE, str(attempt))
        bench.patch.setenv(OUTPUT_VARIABLE, str(bench.output(number)))
        bench.patch.setenv(SEQUENCE_VARIABLE, str(number))
        if keep is not None:
            bench.patch.setenv(KEEP_VARIABLE, keep)
        autoprune.search.trial.main()
        assert (bench.output(number) / KEPT).exists() == (keep is not None)


def test_a_failure_of_the_task_is_shown_as_its_own(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.task = "Failing"
    parameters = bench.parameters(0.5)
    settings = bench.folder / "search.json"
    settings.write_text(json.dumps(bench.settings))
    (bench.folder / PARAMETERS).write_text(json.dumps(parameters))
    bench.patch.setenv(VARIABLE, str(settings))
    bench.patch.setenv(ATTEMPT_VARIABLE, str(bench.folder))
    bench.patch.setenv(OUTPUT_VARIABLE, str(bench.output(0)))
    with pytest.raises(SystemExit) as left:
        autoprune.search.trial.main()
    said = capfd.readouterr().err
    assert left.value.code == 1
    assert said.endswith("error: tasks.py:Failing: train failed (ValueError: out of luck)\n")
    assert 'raise ValueError("out of luck")' in said
    assert "autoprune/search" not in said


def half_written(place: Path) -> None:
    with replacing(place) as folder:
        (folder / "model").write_text("sec")
        raise OSError("disk full")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "best"
    with replacing(place) as folder:
        (folder / "model").write_text("first")
    with pytest.raises(OSError, match="disk full"):
        half_written(place)
    assert (place / "model").read_text() == "first"
    with replacing(place) as folder:
        (folder / "model").write_text("third")
    assert (place / "model").read_text() == "third"
    assert [each.name for each in tmp_path.iterdir()] == ["best"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "best"
    code = (
        "import os, signal, sys; from pathlib import Path; from autoprune.search.checkpoint import replacing\n"
        "with replacing(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'model').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(place)], check=False)
    assert not place.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with replacing(place) as folder:
        (folder / "model").write_text("whole")
    assert [each.name for each in tmp_path.iterdir()] == ["best"]
