"""Opening the database, and its two kinds of transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from autoprune.errors import StoreError, UsageError
from autoprune.store import schema

_NETWORK_FILE_SYSTEMS = frozenset(
    [
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "fuse.sshfs", "fuse.glusterfs", "ocfs2", "pvfs2"),
    ]
)
_BUSY_SECONDS = 30
_CAUSES = {"disk I/O error": "a disk that is full or breaks, or a limit on the size of files, such as ulimit -f"}
"""What may be behind what SQLite says, where that alone helps nobody."""


@dataclass(frozen=True)
class Store:
    """A database, open and up to date; the functions of this package work inside its `read` and `write`."""

    engine: Engine

    def patient(self, seconds: float) -> Store:
        """The same database, for one who waits so long where another holds it."""
        return Store(self.engine.execution_options(autoprune_patience=seconds))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with _explained(self.engine), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """One transaction, whole or not at all; `durable` also survives a power cut."""
        options = {"autoprune_write": True, "autoprune_durable": durable}
        engine = self.engine.execution_options(**options)
        with _explained(self.engine), engine.begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def open_store(where: Path | str) -> Store:
    """The store at a path (SQLite) or a database URL, created or brought up to date as needed."""
    url = _url(where)
    if url.get_backend_name() == "sqlite":
        refuse_network_file_system(Path(url.database or ""))
    engine = create_engine(url, connect_args=_connect_args(url))
    if url.get_backend_name() == "sqlite":
        _tune_sqlite(engine)
    store = Store(engine)
    with store.write() as transaction:
        schema.migrate(transaction)
    return store


def _url(where: Path | str) -> URL:
    if isinstance(where, Path):
        return URL.create("sqlite", database=str(where))
    try:
        return make_url(where)
    except ArgumentError:
        raise UsageError(f"given {where!r}; expected a database URL such as postgresql://host/name") from None


def _connect_args(url: URL) -> dict[str, Any]:
    return {"timeout": _BUSY_SECONDS} if url.get_backend_name() == "sqlite" else {}


def _tune_sqlite(engine: Engine) -> None:
    """WAL, foreign keys, and transactions that begin where we say, with the durability we say."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        level = "FULL" if options.get("autoprune_durable") else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        patience = options.get("autoprune_patience", _BUSY_SECONDS)
        connection.exec_driver_sql(f"PRAGMA busy_timeout={round(1000 * patience)}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("autoprune_write") else "BEGIN")


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    """What the database driver says, as an error of ours that names the database."""
    try:
        yield
    except DBAPIError as error:
        url, said = engine.url, str(error.orig)
        name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
        cause = f" (it may be {_CAUSES[said]})" if said in _CAUSES else ""
        raise StoreError(f"the database {name} failed: {said}{cause}") from error


def refuse_network_file_system(path: Path) -> None:
    """Raises UsageError for a database at a path where SQLite may lose data."""
    kind = _file_system(path.resolve().parent)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise UsageError(
            f"{path.parent} is on {kind}, where SQLite may lose data; "
            "give --workspace a folder on a local disk, or a PostgreSQL URL for the store"
        )


def _file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`: that of the longest mount point above it."""
    mounts = {partition.mountpoint: partition.fstype for partition in psutil.disk_partitions(all=True)}
    for candidate in (folder, *folder.parents):
        if str(candidate) in mounts:
            return mounts[str(candidate)]
    return ""
