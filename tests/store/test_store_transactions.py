"""What is written is whole, lasts as long as promised, and does not disturb who reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sample_workspace import Sample
from sqlalchemy import text

from autoprune.errors import StoreError
from autoprune.records import ExperimentState, TrialState
from autoprune.store import Experiment, commands, events, experiments, metrics, open_store, trials

NORMAL, FULL = 1, 2


def test_finals_are_synced_and_intermediates_are_not(empty: Sample) -> None:
    for durable, level in [(True, FULL), (False, NORMAL), (True, FULL)]:
        with empty.store.write(durable=durable) as tx:
            assert tx.execute(text("PRAGMA synchronous")).scalar_one() == level
    with empty.store.read() as tx:
        assert tx.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert tx.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


def test_a_transaction_that_raises_leaves_nothing(fresh: Sample) -> None:
    def write() -> None:
        with fresh.store.write() as tx:
            events.add(tx, fresh.id, "now", "warning", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    with fresh.store.read() as tx:
        assert events.after(tx, fresh.id) == []


def test_a_reader_keeps_its_view_while_others_write(sample: Sample) -> None:
    with sample.store.read() as tx:
        before = trials.counts(tx, sample.id)
        sample.add(9)
        assert trials.counts(tx, sample.id) == before
    with sample.store.read() as tx:
        assert trials.counts(tx, sample.id)[TrialState.WAITING] == before[TrialState.WAITING] + 1


def test_writers_wait_for_each_other(fresh: Sample) -> None:
    def write() -> None:
        for _ in range(20):
            with fresh.store.write() as tx:
                events.add(tx, fresh.id, "now", "tick", {})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with fresh.store.read() as tx:
        found = events.after(tx, fresh.id)
    assert [event.id for event in found] == list(range(1, 81))


def test_what_the_driver_says_names_the_database(empty: Sample) -> None:
    with pytest.raises(StoreError, match=r"autoprune\.db failed: no such table"), empty.store.read() as tx:
        tx.execute(text("SELECT * FROM absent"))


def test_kill_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from autoprune.records import ExperimentState
from autoprune.store import Experiment, experiments, events, open_store
store = open_store(Path(sys.argv[1]))
with store.write() as tx:
    experiments.create(tx, Experiment("a", "a", {}, 0, ExperimentState.RUNNING, "now"))
for number in range(10**9):
    with store.write() as tx:
        events.add(tx, "a", "now", "tick", {"number": number})
        events.add(tx, "a", "now", "tock", {"number": number})
    print(number, flush=True)
"""
    path = tmp_path / "a.db"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(30)][-1]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().splitlines(keepends=True) if line)])
    child.stdout.close()
    child.wait()
    store = open_store(path)
    with store.read() as tx:
        found = events.after(tx, "a", limit=10**6)
    store.close()
    assert len(found) % 2 == 0
    assert len(found) // 2 in (acknowledged + 1, acknowledged + 2)


def test_removing_an_experiment_removes_all_that_is_its(sample: Sample) -> None:
    sample.create("other")
    with sample.store.write() as tx:
        events.add(tx, sample.id, "now", "warning", {})
        commands.send(tx, sample.id, "stop", {}, "now")
        experiments.remove(tx, sample.id)
    with sample.store.read() as tx:
        left = {
            table: tx.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("experiment", "trial", "attempt", "metric", "event", "command")
        }
    assert left == {"experiment": 1, "trial": 0, "attempt": 0, "metric": 0, "event": 0, "command": 0}


def test_a_command_is_pending_until_it_is_answered(fresh: Sample) -> None:
    with fresh.store.write() as tx:
        first = commands.send(tx, fresh.id, "kill", {"trial": 1}, "now")
        second = commands.send(tx, fresh.id, "stop", {}, "now")
        commands.answer(tx, first, "later", "trial 1 has ended")
    with fresh.store.read() as tx:
        assert [command.id for command in commands.pending(tx, fresh.id)] == [second]
        assert commands.get(tx, first).answer == "trial 1 has ended"


def test_reports_and_curves_keep_their_order(sample: Sample) -> None:
    with sample.store.read() as tx:
        assert [(report.seq, report.final) for report in metrics.of_trial(tx, sample.id, 0)] == [(0, False), (1, True)]
        curves = metrics.intermediates(tx, sample.id)
    assert curves == {(0, 0): [0.45], (1, 0): [0.475], (2, 0): [0.475], (5, 0): [0.99], (7, 0): [0.4]}


def test_finish_order_counts_the_finished(sample: Sample) -> None:
    with sample.store.read() as tx:
        orders = {trial.number: trial.finish_order for trial in trials.all(tx, sample.id)}
        assert trials.next_order(tx, sample.id) == 7
    assert orders == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: None, 8: None}


def test_an_experiment_comes_back_as_it_went_in(empty: Sample) -> None:
    experiment = Experiment(
        "a", "digits é", {"a": [1, {"b": None}]}, 2**31 - 1, ExperimentState.STOPPED, "now", "source\n"
    )
    with empty.store.write() as tx:
        experiments.create(tx, experiment)
        experiments.set_active_seconds(tx, "a", 1.5)
    with empty.store.read() as tx:
        assert experiments.get(tx, "a") == Experiment(**{**vars(experiment), "active_seconds": 1.5})


def test_how_long_to_wait_for_a_database_that_another_process_holds(fresh: Sample) -> None:
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN EXCLUSIVE');"
        "print(flush=True); sys.stdin.read(); c.execute('ROLLBACK')"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(fresh.workspace.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(StoreError, match="locked"), fresh.store.patient(0.05).write():
        pass
    release = threading.Timer(0.5, lambda: holder.communicate())
    release.start()
    with fresh.store.patient(60).write() as tx:
        assert tx.execute(text("PRAGMA busy_timeout")).scalar_one() == 60_000
    release.join()
    assert holder.wait() == 0
