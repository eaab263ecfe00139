"""Where no more can be written: what is there stays as it is, nothing half is left, and the error says what to do."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_workspace import Sample

from autoprune.cli._files import replacing
from autoprune.errors import UsageError

from .conftest import Autoprune

SMALL = 300_000


def limited(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that may make no file larger than so."""
    return subprocess.run(
        [sys.executable, "-m", "autoprune", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL)),
    )


def test_a_run_says_how_to_go_on(
    config: Callable[..., Path], autoprune: Autoprune, environment: dict[str, str], tmp_path: Path
) -> None:
    file = config(maxTrialNumber=8)
    stopped = limited(tmp_path, environment, "run", str(file), "--no-server", "--quiet")
    assert stopped.returncode == 1
    database = tmp_path / "autoprune-experiments" / "autoprune.db"
    assert f"error: the database {database} failed: disk I/O error (it may be a disk that is full" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    command = stopped.stderr.strip().rpartition("go on with: autoprune ")[2]
    assert command.startswith("resume small-search-")
    resumed = autoprune(*command.split(), "--no-server")
    assert resumed.returncode == 0, resumed.stderr
    assert "maxTrialNumber reached" in resumed.stdout


@pytest.mark.parametrize("there", [True, False])
def test_a_report_that_does_not_fit_leaves_nothing(
    sample: Sample, environment: dict[str, str], tmp_path: Path, there: bool
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    file = folder / "report.html"
    if there:
        file.write_text("old")
    done = limited(folder, environment, "report", "--out", str(file), "--workspace", str(sample.workspace.root))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: cannot write {file}: File too large\n"
    assert [each.read_text() for each in folder.iterdir()] == ["old"] * there


def interrupted(file: Path) -> None:
    with replacing(file) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt


def test_a_file_is_replaced_by_a_whole_one_alone(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    with pytest.raises(KeyboardInterrupt):
        interrupted(link)
    assert file.read_text() == "old"
    with replacing(link) as draft:
        draft.write_text("new")
    assert (file.read_text(), link.is_symlink()) == ("new", True)
    assert set(tmp_path.iterdir()) == {file, link}


def test_what_is_no_plain_file_is_not_replaced() -> None:
    device = Path("/dev/full")
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left on device"), replacing(device) as draft:
        draft.write_text("much")
    assert device.is_char_device()
