"""`autoprune doctor`: each check on a machine made sick for it, and the command over all of them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
from click.testing import CliRunner
from sample_workspace import Sample

from autoprune.cli import _checks
from autoprune.cli._checks import Finding, Level
from autoprune.cli.main import cli
from autoprune.store import store as store_module


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a workspace; a home for what the child processes import."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOPRUNE_WORKSPACE", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


@pytest.fixture
def torch(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A torch of the test's own, for the process that imports it."""

    def write(code: str) -> None:
        (here / "modules").mkdir()
        (here / "modules" / "torch.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(here / "modules"))

    return write


def only(findings: Iterator[Finding], level: Level) -> list[Finding]:
    return [finding for finding in findings if finding.level is level]


WORKS = """
from types import SimpleNamespace
cuda = SimpleNamespace(is_available=lambda: {gpus} > 0, device_count=lambda: {gpus})
def ones(*shape, device): return SimpleNamespace(item=lambda: 1.0)
"""


def test_a_healthy_machine(torch: Callable[[str], None]) -> None:
    torch(WORKS.format(gpus=0))
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert {"Python", "torch", "optuna", "hyperopt", "GPUs", "cores", "workspace", "disk", "database"} <= {
        check["check"] for check in report["checks"]
    }
    assert all(check["level"] != "problem" for check in report["checks"])


def test_a_sick_machine_in_words(torch: Callable[[str], None]) -> None:
    torch("raise ImportError('libcudart.so.12: cannot open shared object file')")
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("problem")]
    assert line.split(maxsplit=3)[:3] == ["problem", "import", "torch"]
    assert "libcudart.so.12" in line
    assert "pytorch.org" in lines[lines.index(line) + 1]
    assert lines[-1].startswith("1 problem, ")
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lines if line[:1].isalpha() and "  " in line}) == 1
    assert "\x1b" not in result.stdout


def test_a_torch_that_hangs_or_dies(torch: Callable[[str], None]) -> None:
    torch("import time; time.sleep(1000)")
    (finding,) = only(_checks.check_torch(0, seconds=0.5), Level.PROBLEM)
    assert finding.found == "has not finished for 0.5 seconds"


def test_a_torch_that_dies_without_a_word(torch: Callable[[str], None]) -> None:
    torch("import os; os._exit(3)")
    (finding,) = only(_checks.check_torch(0), Level.PROBLEM)
    assert finding.found == "it ended with exit code 3"


@pytest.mark.parametrize(("gpus", "usable", "level"), [(2, 2, Level.OK), (2, 0, Level.WARNING), (0, 0, Level.OK)])
def test_gpus_that_torch_cannot_use(torch: Callable[[str], None], gpus: int, usable: int, level: Level) -> None:
    torch(WORKS.format(gpus=usable))
    (finding,) = _checks.check_torch(gpus)
    assert finding.level is level
    assert str(usable or gpus or "CPU") in finding.found


def test_the_hidden_gpus_are_named_by_what_hides_them(
    torch: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch(WORKS.format(gpus=0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    (finding,) = _checks.check_torch(1)
    assert finding.remedy == "CUDA_VISIBLE_DEVICES is '7'"


@pytest.mark.parametrize(
    ("gpus", "complaint", "level", "found"),
    [
        (["A", "B"], "", Level.OK, "0: A, 1: B"),
        ([], "", Level.OK, "none: trials run on the CPU, with trialGpuNumber: 0"),
        ([], "Driver/library version mismatch", Level.WARNING, "Driver/library version mismatch"),
    ],
)
def test_gpus(
    torch: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    gpus: list[str],
    complaint: str,
    level: Level,
    found: str,
) -> None:
    torch(WORKS.format(gpus=len(gpus)))
    monkeypatch.setattr(_checks, "find_gpus", lambda: (gpus, complaint))
    first, of_torch = _checks.check_gpus()
    assert first.level is level
    assert found in first.found
    assert of_torch.level is Level.OK


@pytest.mark.parametrize(
    ("code", "complains"),
    [(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, False), (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, True)],
)
def test_no_driver_is_no_complaint(monkeypatch: pytest.MonkeyPatch, code: int, complains: bool) -> None:
    def init() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    gpus, complaint = _checks.find_gpus()
    assert (gpus, bool(complaint)) == ([], complains)


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checks, "LIBRARIES", ("optuna", "no-such-library"))
    (finding,) = only(_checks.check_libraries(), Level.PROBLEM)
    assert finding.check == "no-such-library"
    assert finding.remedy.endswith("-m pip install no-such-library")


@pytest.mark.parametrize(("platform", "level"), [("linux", Level.OK), ("darwin", Level.OK), ("sunos5", Level.PROBLEM)])
def test_platforms(monkeypatch: pytest.MonkeyPatch, platform: str, level: Level) -> None:
    monkeypatch.setattr("sys.platform", platform)
    (finding,) = [finding for finding in _checks.check_python() if finding.check == "platform"]
    assert finding.level is level


@pytest.mark.parametrize(("threads", "level"), [("1", Level.OK), ("100000", Level.WARNING), ("many", Level.WARNING)])
def test_threads_that_were_set(monkeypatch: pytest.MonkeyPatch, threads: str, level: Level) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    finding = next(_checks.check_cores())
    assert finding.level is level
    assert threads in finding.found


@pytest.mark.parametrize(
    ("text", "cores"), [("200000 100000\n", 2.0), ("50000 100000\n", 0.5), ("max 100000\n", None), ("", None)]
)
def test_the_cores_of_a_container(here: Path, text: str, cores: float | None) -> None:
    (here / "cpu.max").write_text(text)
    assert _checks._allowed_cores(here / "cpu.max") == cores
    assert _checks._allowed_cores(here / "none") is None


@pytest.mark.parametrize(("free", "level"), [(2**40, Level.OK), (2**29, Level.WARNING), (2**20, Level.PROBLEM)])
def test_disk_space(here: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    assert _checks._disk_space(here).level is level


def test_where_the_workspace_is_and_why(here: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(given: Path | None) -> str:
        return next(_checks.check_workspace(given)).found

    assert why(None) == f"{sample.workspace.root} (the nearest to the current folder)"
    assert why(here / "other") == f"{here / 'other'} (as --workspace says)"
    monkeypatch.setenv("AUTOPRUNE_WORKSPACE", str(here / "mine"))
    assert why(None) == f"{here / 'mine'} (as AUTOPRUNE_WORKSPACE says)"


def test_looking_makes_nothing(here: Path) -> None:
    found = list(_checks.check_workspace(None))
    assert "not made yet" in found[0].found
    assert all(finding.level is Level.OK for finding in found)
    assert list(here.iterdir()) == []


def test_a_manager_that_died(sample: Sample) -> None:
    (finding,) = only(_checks.check_workspace(None), Level.WARNING)
    assert f"{sample.id} is INTERRUPTED" in finding.found
    assert f"autoprune resume {sample.id}" in finding.remedy


def test_a_manager_that_lives(sample: Sample) -> None:
    with sample.workspace.lock(sample.id):
        found = list(_checks.check_workspace(None))
    assert [finding.found for finding in found if finding.check == "experiments"] == ["1, of which 1 run now"]


def test_a_lock_that_cannot_be_read(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    (sample.workspace.folder(sample.id) / "manager.lock").mkdir(parents=True)
    monkeypatch.setattr("fcntl.flock", refuse)
    (finding,) = only(_checks.check_workspace(None), Level.PROBLEM)
    assert (finding.check, finding.found) == ("experiments", "[Errno 13] no lock for you")


def refuse(*arguments: object) -> None:
    raise PermissionError(13, "no lock for you")


def test_a_database_that_is_none(sample: Sample) -> None:
    sample.store.close()
    for file in sample.workspace.root.glob("autoprune.db*"):
        file.unlink()
    sample.workspace.database.write_text("no database, and longer than a database's header is: " + "x" * 100)
    (finding,) = only(_checks.check_workspace(None), Level.PROBLEM)
    assert "not a database" in finding.found


@pytest.mark.parametrize("exists", [True, False])
def test_a_network_file_system(here: Path, empty: Sample, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    monkeypatch.setattr(store_module, "_file_system", lambda folder: "nfs4")
    (finding,) = only(_checks.check_workspace(None if exists else here / "new"), Level.PROBLEM)
    assert "is on nfs4" in finding.found


def test_a_workspace_that_cannot_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (finding,) = only(_checks.check_workspace(None), Level.PROBLEM)
    assert finding.found == f"{here} cannot be written"
    (here / "file").write_text("")
    (finding,) = only(_checks.check_workspace(here / "file"), Level.PROBLEM)
    assert finding.found == f"{here / 'file'} is a file"


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (taken,) = _checks.check_port(port)
    assert (taken.level, taken.check) == (Level.WARNING, f"port {port}")
    assert "--port N" in taken.remedy
    assert [finding.level for finding in _checks.check_port(0)] == [Level.OK]


def test_no_inotify_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(_checks, "Watch", lambda: SimpleNamespace(descriptor=None, close=lambda: None))
    (finding,) = _checks.check_waking()
    assert finding.level is Level.WARNING
    assert "max_user_instances" in finding.remedy
