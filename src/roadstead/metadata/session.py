"""One opening of the database file: locks, migration, damage, and what it says of itself."""

import fcntl
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from roadstead.errors import MetadataError
from roadstead.metadata.engine import open_engine
from roadstead.metadata.migrate import migrate
from roadstead.metadata.schema import state

_log = logging.getLogger("roadstead.metadata")

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class _DamagedError(Exception):
    """The file is a database, and something in it is wrong."""


def is_damage(error: BaseException) -> bool:
    """Say whether SQLite found the file itself to be wrong."""
    if isinstance(error, _DamagedError):
        return True
    cause = error.orig if isinstance(error, DatabaseError) else error
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


class Session:
    """An opened database. ``alone``: no other process had it open at that moment.

    Everything blocks, and everything but reading belongs to one thread.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at ``path``, made, migrated and, if it is damaged, replaced.

        A lock beside it is held exclusively while that happens, and shared from then on.

        Raises:
            MetadataError: another version's, or damaged while another process uses it.
            OSError: the volume cannot be written.
            sqlalchemy.exc.SQLAlchemyError: it cannot be opened.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = FileIO(path.with_suffix(".lock"), "a")
        self.alone = True
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self._lock, fcntl.LOCK_SH)
                self.alone = False
            self._open()
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        except BaseException:
            self._lock.close()
            raise

    def is_current(self) -> bool:
        """Say whether the file that is open is still the one at its path."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def write(self) -> sa.Connection:
        """Return the one connection for writing."""
        return self._writing.connect()

    def read(self) -> sa.Connection:
        """Return a connection for reading; callable from several threads."""
        return self.reading.connect()

    def close(self, appearance: Callable[[], str] | None) -> None:
        """Close it; the last process leaves word how the volume looked then.

        With ``appearance`` None, or in trouble, no word is left: the next to open looks closer.
        """
        try:
            if appearance is not None:
                with suppress(BlockingIOError, OSError, sa.exc.SQLAlchemyError):
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    with self._writing.begin() as connection:
                        closing = sa.update(state).values(
                            closed_as=appearance(), written_at=time.time()
                        )
                        connection.execute(closing)
        finally:
            self._writing.dispose()
            self.reading.dispose()
            self._lock.close()

    def _open(self) -> None:
        try:
            self._connect()
        except (sa.exc.SQLAlchemyError, _DamagedError) as error:
            self._writing.dispose()
            if not is_damage(error):
                raise
            if not self.alone:
                message = "the metadata database is damaged, and other processes have it open"
                raise MetadataError(message) from error
            self._move_aside()
            self._connect()
        found = self._path.stat()
        self._identity = (found.st_dev, found.st_ino)
        self.reading = open_engine(self._path, for_writing=False)

    def _connect(self) -> None:
        self._writing = open_engine(self._path, for_writing=True)
        with self._writing.connect() as connection:
            if self.alone:
                with connection.begin():
                    _check(connection)
            with connection.begin():
                migrate(connection)

    def _move_aside(self) -> None:
        """Keep the damaged file, for whoever wants to look; an earlier one goes."""
        aside = self._path.with_suffix(".damaged")
        _log.error("the metadata database is damaged; it is kept as %s and rebuilt", aside.name)
        self._path.replace(aside)
        for ending in ("-wal", "-shm"):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)


def _check(connection: sa.Connection) -> None:
    """Look through the file if no process closed it properly.

    Raises:
        _DamagedError: it is damaged.
        sqlalchemy.exc.DatabaseError: it is no database.
    """
    if not sa.inspect(connection).has_table(state.name):
        return
    if connection.scalar(sa.select(state.c.closed_as)):
        return
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise _DamagedError(found)
