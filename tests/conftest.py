"""Workspaces for all rooms that read one."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest
from sample_workspace import Sample, clock

from autoprune.protocol import ATTEMPT_VARIABLE
from autoprune.records import Exit, TrialState
from autoprune.store import Workspace, trials


def pytest_configure() -> None:
    """Interrupts are heard: a shell's background jobs ignore them, and so would every process the tests start.
    Properties are tried without regard to time, and in CI on the same examples every time."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("autoprune", deadline=None, derandomize="CI" in os.environ)
    hypothesis.settings.load_profile("autoprune")


@pytest.fixture(scope="session", autouse=True)
def no_process_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests, nothing runs any more that belongs to an experiment of theirs."""
    yield
    base = str(tmp_path_factory.getbasetemp())
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(ATTEMPT_VARIABLE, "").startswith(base):
                left.append(" ".join(process.cmdline()))
    assert left == []


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Sample]:
    """A workspace without experiments."""
    workspace = Workspace(tmp_path / "autoprune-experiments")
    store = workspace.create()
    yield Sample(workspace, store)
    store.close()


@pytest.fixture
def fresh(empty: Sample) -> Sample:
    """An experiment without trials."""
    empty.create()
    return empty


@pytest.fixture
def sample(fresh: Sample) -> Sample:
    """An experiment with trials in every state; 1 and 2 are equally good, 3 ran twice."""
    for number, value in enumerate([0.9, 0.95, 0.95]):
        fresh.succeed(number, value, {"prune_method": {"_name": "agp", "conv0_sparsity": number / 10}})
    for number in range(3, 9):
        fresh.add(number)
    for number in (3, 4, 5, 7):
        fresh.start(number)
    with fresh.store.write() as tx:
        trials.end_attempt(tx, fresh.id, 3, 0, clock(5), Exit(None, 9), "killed by signal 9")
        trials.wait_again(tx, fresh.id, 3, "killed by signal 9")
    fresh.start(3, attempt=1)
    fresh.finish(3, TrialState.FAILED, message="exit code 1", attempt=1)
    fresh.report(4, 0, None, final=True)
    fresh.finish(4, TrialState.INVALID, message="not a finite number", values={"default": "NaN"})
    fresh.report(5, 0, 0.99)
    fresh.finish(5, TrialState.EARLY_STOPPED, 0.99)
    with fresh.store.write() as tx:
        trials.finish(tx, fresh.id, 6, TrialState.USER_CANCELED, clock(20), message="killed by command")
    fresh.report(7, 0, 0.4)
    return fresh


@pytest.fixture
def repeated(fresh: Sample) -> Sample:
    """An experiment whose leaders ran again: trial 1 was the luckiest, the starting point 0 is the best. Trial 3 has
    the highest value of all and is not feasible."""
    points = [{"lr": 0.1 * number} for number in range(4)]
    fresh.succeed(0, 0.8, points[0], origin="LAMP")
    fresh.succeed(1, 0.95, points[1])
    fresh.succeed(2, 0.9, points[2])
    fresh.succeed(3, 0.99, points[3], feasible=False)
    for number, (of, value) in enumerate([(0, 0.81), (1, 0.7), (0, 0.83), (1, 0.72)], start=4):
        fresh.succeed(number, value, points[of], origin="" if of else "LAMP", repeat_of=of)
    return fresh
