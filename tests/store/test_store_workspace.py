"""Where experiments are, how they are named, and that one manager at a time runs each."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sample_workspace import Sample, clock

from autoprune.errors import LockedError, NotFoundError, UsageError
from autoprune.records import ExperimentState
from autoprune.store import Workspace, experiments, find_workspace

HOLD = """
import sys
from pathlib import Path
from autoprune.store import Workspace
with Workspace(Path(sys.argv[1])).lock(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(sample: Sample) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(sample.workspace.root), sample.id]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_manager_is_refused_and_told_who_the_first_is(fresh: Sample) -> None:
    with hold(fresh) as child:
        assert fresh.workspace.locked(fresh.id)
        with (
            pytest.raises(LockedError, match=f"process {child.pid};.*autoprune stop") as refusal,
            fresh.workspace.lock(fresh.id),
        ):
            pass
        assert refusal.value.exit_code == 75
        child.communicate("")
    assert not fresh.workspace.locked(fresh.id)
    with fresh.workspace.lock(fresh.id):
        assert fresh.workspace.locked(fresh.id)


def test_the_lock_falls_with_a_killed_manager(fresh: Sample) -> None:
    with hold(fresh) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not fresh.workspace.locked(fresh.id)


def test_an_experiment_that_never_ran_is_not_locked(fresh: Sample) -> None:
    assert not fresh.workspace.locked(fresh.id)
    assert not fresh.workspace.locked("no-such-experiment")


def test_a_new_workspace_is_kept_out_of_git(empty: Sample) -> None:
    assert (empty.workspace.root / ".gitignore").read_text() == "*\n"
    assert empty.workspace.database.is_file()


def test_a_workspace_that_is_not_there_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--workspace.*autoprune run"):
        Workspace(tmp_path / "nowhere").open()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make the workspace"):
        Workspace(tmp_path / "file" / "inside").create()


def test_the_workspace_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "project" / "code" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.delenv("AUTOPRUNE_WORKSPACE", raising=False)
    assert find_workspace(None).root == deep / "autoprune-experiments"
    above = tmp_path / "project" / "autoprune-experiments"
    above.mkdir()
    assert find_workspace(None).root == above
    assert find_workspace(None, tmp_path / "configured").root == tmp_path / "configured"
    monkeypatch.setenv("AUTOPRUNE_WORKSPACE", str(tmp_path / "variable"))
    assert find_workspace(None, tmp_path / "configured").root == tmp_path / "variable"
    assert find_workspace(Path("given")).root == deep / "given"


def test_prefixes(empty: Sample) -> None:
    for second, id in enumerate(["net", "net-a1", "net-a2", "other-b1"]):
        empty.create(id, clock(second))
    with empty.store.read() as tx:
        assert experiments.resolve(tx, None) == "other-b1"
        assert experiments.resolve(tx, "o") == "other-b1"
        assert experiments.resolve(tx, "net-a1") == "net-a1"
        assert experiments.resolve(tx, "net") == "net", "a whole id wins over the ids it begins"
        with pytest.raises(NotFoundError, match="begins 2 ids: net-a2, net-a1; give more of it"):
            experiments.resolve(tx, "net-")
        with pytest.raises(NotFoundError, match="did you mean net-a1"):
            experiments.resolve(tx, "nett-a1")
        with pytest.raises(NotFoundError):
            experiments.resolve(tx, "%")


def test_no_experiments_yet(empty: Sample) -> None:
    with empty.store.read() as tx, pytest.raises(NotFoundError, match="no experiments yet"):
        experiments.resolve(tx, None)


def test_states_are_kept(fresh: Sample) -> None:
    fresh.end(ExperimentState.STOPPED, "stopped by command")
    with fresh.store.read() as tx:
        stored = experiments.get(tx, fresh.id)
    assert (stored.state, stored.message, stored.ended) == (
        ExperimentState.STOPPED,
        "stopped by command",
        clock(59),
    )


def test_a_workspace_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the system, since root may write whatever the mode says."""
    workspace = Workspace(tmp_path / "ws")
    workspace.create().close()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    for use in (workspace.create, workspace.open):
        with pytest.raises(UsageError, match="cannot be written"):
            use()
