"""A database is made, brought up to date, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text, update

from autoprune.errors import StoreError, UsageError
from autoprune.store import open_store, schema, store


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
