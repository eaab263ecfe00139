"""A database is made, brought up to date, or refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text, update

from autoprune.errors import StoreError, UsageError
from autoprune.records import Trial, TrialState
from autoprune.store import models, open_store, schema, store, trials


def test_a_new_database_has_every_table_and_the_newest_version(tmp_path: Path) -> None:
    opened = open_store(tmp_path / "a.db")
    with opened.read() as tx:
        assert set(schema.tables.tables) <= set(inspect(tx).get_table_names())
        assert tx.execute(select(schema.schema_version.c.version)).scalar_one() == schema.VERSION
    opened.close()


def test_an_older_database_goes_through_each_later_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(tmp_path / "a.db").close()

    def step(name: str) -> object:
        def migrate(connection: Connection) -> None:
            connection.execute(text(f"ALTER TABLE trial ADD COLUMN {name} TEXT"))

        return migrate

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step("one"), step("two")))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 2)
    for _ in range(2):
        opened = open_store(tmp_path / "a.db")
        with opened.read() as tx:
            columns = [column["name"] for column in inspect(tx).get_columns("trial")]
            assert tx.execute(select(schema.schema_version.c.version)).scalar_one() == schema.VERSION
        opened.close()
        assert columns[-2:] == ["one", "two"]


VERSION_1 = """
    CREATE TABLE schema_version (version INTEGER NOT NULL);
    INSERT INTO schema_version VALUES (1);
    CREATE TABLE experiment (
        id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, config JSON NOT NULL, source TEXT NOT NULL,
        seed BIGINT NOT NULL, state VARCHAR NOT NULL, created VARCHAR NOT NULL, ended VARCHAR, message TEXT NOT NULL,
        active_seconds FLOAT NOT NULL
    );
    CREATE TABLE trial (
        experiment VARCHAR NOT NULL REFERENCES experiment (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        state VARCHAR NOT NULL, parameters JSON NOT NULL, value FLOAT, metrics JSON NOT NULL, created VARCHAR NOT NULL,
        started VARCHAR, ended VARCHAR, attempts INTEGER NOT NULL, message TEXT NOT NULL, tuner_state JSON,
        known INTEGER NOT NULL, finish_order INTEGER, PRIMARY KEY (experiment, number)
    );
    CREATE TABLE attempt (
        experiment VARCHAR NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL, pid INTEGER, pid_created FLOAT,
        started VARCHAR NOT NULL, ended VARCHAR, exit_code INTEGER, signal INTEGER, message TEXT NOT NULL,
        PRIMARY KEY (experiment, number, attempt),
        FOREIGN KEY (experiment, number) REFERENCES trial (experiment, number) ON DELETE CASCADE
    );
    CREATE TABLE metric (
        experiment VARCHAR NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL, seq INTEGER NOT NULL,
        final BOOLEAN NOT NULL, value FLOAT, "values" JSON NOT NULL, time VARCHAR NOT NULL,
        PRIMARY KEY (experiment, number, attempt, seq),
        FOREIGN KEY (experiment, number) REFERENCES trial (experiment, number) ON DELETE CASCADE
    );
    CREATE TABLE event (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        experiment VARCHAR NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
        time VARCHAR NOT NULL, kind VARCHAR NOT NULL, data JSON NOT NULL
    );
    CREATE TABLE command (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        experiment VARCHAR NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
        kind VARCHAR NOT NULL, data JSON NOT NULL, created VARCHAR NOT NULL, done VARCHAR, answer TEXT
    );
    CREATE INDEX trial_by_value ON trial (experiment, state, value);
    CREATE INDEX event_by_experiment ON event (experiment, id);
    CREATE INDEX command_pending ON command (experiment, done);
    INSERT INTO experiment VALUES ('old', 'old', '{"tuner": {}}', '', 7, 'DONE', 'c', NULL, '', 1.5);
    INSERT INTO trial VALUES
        ('old', 0, 'SUCCEEDED', '{"x": 1}', 0.5, '{"default": 0.5}', 'c', 's', 'e', 1, '', NULL, 0, 0),
        ('old', 1, 'WAITING', '{"x": 2}', NULL, '{}', 'c', NULL, NULL, 0, '', '{"position": 1}', 1, NULL);
    """


def test_a_database_of_version_1_goes_on(tmp_path: Path) -> None:
    """Its trials come from their tuners, are feasible, and repeat nothing; and it takes what is new."""
    with closing(sqlite3.connect(tmp_path / "a.db")) as old:
        old.executescript(VERSION_1)
    opened = open_store(tmp_path / "a.db")
    with opened.write() as tx:
        before = trials.all(tx, "old")
        repeat = Trial(2, TrialState.WAITING, {"x": 1}, created="c", origin="LAMP", repeat_of=0)
        trials.create(tx, "old", repeat)
        trials.start(tx, "old", 1, 0, "s")
        trials.finish(tx, "old", 1, TrialState.SUCCEEDED, "e", value=0.9, feasible=False)
        models.save(tx, "old", "key", {"space": {}})
    assert [(trial.origin, trial.repeat_of, trial.feasible) for trial in before] == [("", None, True)] * 2
    assert [(trial.value, trial.parameters) for trial in before] == [(0.5, {"x": 1}), (None, {"x": 2})]
    assert before[1].tuner_state == {"position": 1}
    with opened.read() as tx:
        assert trials.get(tx, "old", 2) == repeat
        assert not trials.get(tx, "old", 1).feasible
        assert [trial.number for trial in trials.best(tx, "old", highest=True)] == [0]
        assert models.facts(tx, "old") == {"space": {}}
    opened.close()


def shape(file: Path) -> dict[str, tuple[set[tuple[str, str, bool]], set[tuple[str | None, ...]]]]:
    """The columns and indexes of each table."""
    opened = open_store(file)
    with opened.read() as tx:
        known = inspect(tx)
        found = {
            table: (
                {(one["name"], str(one["type"]), one["nullable"]) for one in known.get_columns(table)},
                {(one["name"], *one["column_names"]) for one in known.get_indexes(table)},
            )
            for table in schema.tables.tables
        }
    opened.close()
    return found


def test_an_old_database_has_the_columns_and_indexes_of_a_new_one(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.executescript(VERSION_1)
    assert shape(tmp_path / "old.db") == shape(tmp_path / "new.db")


def test_a_database_of_version_2_gets_what_came_later(tmp_path: Path) -> None:
    open_store(tmp_path / "a.db").close()
    new = shape(tmp_path / "a.db")
    with closing(sqlite3.connect(tmp_path / "a.db")) as old:
        old.executescript("DROP INDEX trial_in_short; ALTER TABLE command DROP COLUMN trial")
        old.execute("UPDATE schema_version SET version = 2")
        old.commit()
    assert shape(tmp_path / "a.db") == new


def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(tmp_path / "a.db").close()

    def half(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE trial ADD COLUMN half TEXT"))
        raise StoreError("the step failed")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, half))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(StoreError, match="the step failed"):
            open_store(tmp_path / "a.db")
    opened = open_store(tmp_path / "a.db")
    with opened.read() as tx:
        assert "half" not in [column["name"] for column in inspect(tx).get_columns("trial")]
        assert tx.execute(select(schema.schema_version.c.version)).scalar_one() == schema.VERSION
    opened.close()


def test_a_database_from_the_future_is_refused(tmp_path: Path) -> None:
    opened = open_store(tmp_path / "a.db")
    with opened.write() as tx:
        tx.execute(update(schema.schema_version).values(version=schema.VERSION + 1))
    opened.close()
    with pytest.raises(StoreError, match="upgrade autoprune"):
        open_store(tmp_path / "a.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("this is no database, " * 100)
    with pytest.raises(StoreError, match=r"a\.db"):
        open_store(tmp_path / "a.db")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="postgresql://"):
        open_store("not a url")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre"])
def test_network_file_systems_are_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(store, "_file_system", lambda folder: kind)
    with pytest.raises(UsageError, match=f"on {kind}.*--workspace.*PostgreSQL"):
        open_store(tmp_path / "a.db")
    assert not (tmp_path / "a.db").exists()


def test_the_file_system_is_that_of_the_longest_mount_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Partition:
        def __init__(self, mountpoint: str, fstype: str) -> None:
            self.mountpoint = mountpoint
            self.fstype = fstype

    mounts = [Partition("/", "ext4"), Partition("/home", "nfs4"), Partition("/home/me/disk", "xfs")]
    monkeypatch.setattr(store.psutil, "disk_partitions", lambda all: mounts)
    assert store._file_system(Path("/home/me/work")) == "nfs4"
    assert store._file_system(Path("/home/me/disk/a")) == "xfs"
    assert store._file_system(Path("/homework")) == "ext4"
