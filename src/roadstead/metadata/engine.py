"""Connections to SQLite, set up for one writer and many readers in several processes."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from roadstead.metadata.base import LOG_BYTES

_PAGE_BYTES = 4096
"""SQLite's default."""
_PRAGMAS = (
    # Readers and the writer do not wait for each other.
    "journal_mode = WAL",
    # A commit is on the disk before the link that it announces: a power loss must not undo it.
    "synchronous = FULL",
    "busy_timeout = 5000",
    # KiB, for each connection.
    "cache_size = -8192",
    "journal_size_limit = 67108864",
    f"wal_autocheckpoint = {LOG_BYTES // _PAGE_BYTES}",
)


def open_engine(path: Path, *, for_writing: bool) -> sa.Engine:
    """Return an engine for the file at ``path``, which the first connection makes.

    For reading, the file is never made: one that vanished must not come back empty.
    """
    mode = "rwc" if for_writing else "rw"
    url = sa.URL.create(
        "sqlite+pysqlite", database=f"file:{_quoted(path)}", query={"mode": mode, "uri": "true"}
    )
    engine = sa.create_engine(url, pool_size=1 if for_writing else 4, max_overflow=0)
    # A transaction that starts by reading and goes on to write could find the database changed,
    # and would fail at once instead of waiting: a writer takes its turn at the beginning.
    begin = "BEGIN IMMEDIATE" if for_writing else "BEGIN"

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_explicitly(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")
