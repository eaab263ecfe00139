"""The scan measures what it says: the accuracy with one group alone pruned, in one process or in several."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from search.tasks import Images

from autoprune.compression.torch import LevelPruner, recalibrate_batchnorm
from autoprune.records import Curve
from autoprune.search.job import Job
from autoprune.search.loading import Source
from autoprune.search.scalers import scaler_of
from autoprune.search.scan import SPARSITIES, Point, points, scan
from autoprune.search.settings import Settings

TASKS = str(Path(__file__).with_name("tasks.py"))
SEARCH = {"pruners": ["level"], "granularity": "layer", "epochs": 1, "finalEpochs": None}


def job_of(folder: Path, name: str = "Images", **arguments: Any) -> Job:
    job = Job.of(Settings(Source(TASKS, name, arguments), folder, None, SEARCH, 0, maximize=True))
    job.prepare()
    return job


def points_of(job: Job, pruner: str = "level") -> list[Point]:
    kind = "filters" if pruner == "l1" else "weights"
    return list(points(pruner, scaler_of(kind, job.dense(), job.example, job.settings)))


def test_a_group_alone_is_pruned_at_every_sparsity_that_it_reaches(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    found = points_of(job)
    assert {point.group for point in found} == {"conv1", "conv2", "conv3", "fc"}
    for point in found:
        assert [layer for layer, sparsity in point.layers.items() if sparsity] == [point.group]
        assert min(abs(point.sparsity - wanted) for wanted in SPARSITIES) < 0.02
    of_filters = points_of(job, "l1")
    for group in {point.group for point in of_filters}:
        own = [point.sparsity for point in of_filters if point.group == group]
        assert own == sorted(set(own))
        assert all(0 < sparsity < 1 for sparsity in own)


def test_values_are_those_of_the_model_pruned_by_hand(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    wanted = [point for point in points_of(job) if point.group == "conv2"][:3]
    said: list[str] = []
    curve, *others = scan(job, wanted, [], 1, said.append)
    assert not others
    assert (curve.pruner, curve.group) == ("level", "conv2")
    task = Images()
    for point, value in zip(wanted, curve.values, strict=True):
        model, _ = LevelPruner(job.dense(), [{"sparsity": point.sparsity, "op_names": ["conv2"]}]).compress()
        assert task.evaluate(recalibrate_batchnorm(model, list(task.calibration_batches()))) == value
    assert [line.split(":")[0] for line in said] == ["scan 1/3", "scan 2/3", "scan 3/3"]
    assert said[0] == f"scan 1/3: level conv2 at {wanted[0].sparsity:.3g}: {curve.values[0]:.4g}"


def test_filters_are_really_removed(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    wanted = [point for point in points_of(job, "l1") if point.group == "conv3"][-1:]
    (curve,) = scan(job, wanted, [], 1, lambda text: None)
    assert curve.values[0] is not None
    assert curve.values[0] < job.score(job.dense())["default"]


def test_what_is_known_is_not_measured_again(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    wanted = [point for point in points_of(job) if point.group in ("conv1", "fc")]
    own = {group: tuple(each.sparsity for each in wanted if each.group == group) for group in ("conv1", "fc")}
    known = [Curve("level", group, own[group], (7.0,) * len(own[group])) for group in own]
    said: list[str] = []
    assert scan(job, wanted, known, 1, said.append) == known
    assert said == ["takes the sensitivity of the layers from an earlier experiment of this task"]
    stale = [known[0], replace(known[1], sparsities=(0.3,), values=(7.0,))]
    first, second = scan(job, wanted, stale, 1, said.append)
    assert first == known[0]
    assert second.sparsities == own["fc"]
    assert 7.0 not in second.values


@pytest.mark.parametrize("torn", ["", '["level conv1 0.'])
def test_a_scan_that_was_interrupted_goes_on(tmp_path: Path, torn: str) -> None:
    job = job_of(tmp_path)
    job = replace(job, settings=replace(job.settings, folder=tmp_path))
    wanted = points_of(job)
    whole = scan(job_of(tmp_path), wanted, [], 1, lambda line: None)

    def interrupt(line: str) -> None:
        if line.startswith("scan 4/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(job, wanted, [], 1, interrupt)
    (file,) = tmp_path.glob("scan-*.jsonl")
    with file.open("a") as lines:
        lines.write(torn)
    for left in (len(wanted) - 3, 0):
        told: list[str] = []
        assert scan(job, wanted, [], 1, told.append) == whole
        assert len(told) == left


def test_a_point_without_a_value_is_none_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        dedent(f"""
        import sys; sys.path.append({str(Path(__file__).parents[1])!r})
        from search.tasks import Images

        class Fragile(Images):
            def evaluate(self, model):
                share = (model.fc.weight == 0).float().mean()
                if share > 0.92:
                    raise ValueError("nothing left")
                return float("nan") if share > 0.75 else 50.0
        """)
    )
    given = Settings(Source(str(tmp_path / "task.py"), "Fragile"), tmp_path, None, SEARCH, 0, maximize=True)
    job = Job.of(given)
    job.prepare()
    said: list[str] = []
    (curve,) = scan(job, [point for point in points_of(job) if point.group == "fc"], [], 1, said.append)
    assert curve.values == (50.0, 50.0, None, None, None, None)
    assert "no number (nan)" in said[2]
    assert "ValueError: nothing left" in said[-1]


@pytest.mark.slow
def test_several_processes_measure_the_same(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    wanted = points_of(job)[:8]
    assert scan(job, wanted, [], 2, lambda text: None) == scan(job, wanted, [], 1, lambda text: None)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


SLEEPING = """
    import os, time
    from search.tasks import Images

    class Sleeping(Images):
        def evaluate(self, model):
            print("pid", os.getpid(), flush=True)
            time.sleep(100)
    """
SCANNING = """
    import sys
    from pathlib import Path
    from autoprune.search.job import Job
    from autoprune.search.loading import Source
    from autoprune.search.scalers import scaler_of
    from autoprune.search.scan import points, scan
    from autoprune.search.settings import Settings

    if __name__ == "__main__":
        search = {"pruners": ["level"], "granularity": "layer", "epochs": 1, "finalEpochs": None}
        job = Job.of(Settings(Source("task.py", "Sleeping"), Path("kept"), None, search, 0, maximize=True))
        job.prepare()
        wanted = list(points("level", scaler_of("weights", job.dense(), job.example, job.settings)))
        scan(job, wanted, [], 2, print)
    """


@pytest.mark.slow
def test_the_processes_of_a_scan_that_is_killed_end_with_it(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n" + dedent(SLEEPING)
    )
    (tmp_path / "scanning.py").write_text(dedent(SCANNING))
    process = subprocess.Popen([sys.executable, "scanning.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    numbers = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    children = [psutil.Process(number) for number in numbers]
    assert process.pid not in numbers
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, "they run on"
        time.sleep(0.05)
    process.stdout.close()
