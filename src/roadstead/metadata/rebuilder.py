"""When to rebuild, and the thread that does it beside the mirror."""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import sqlalchemy as sa

from roadstead.errors import MetadataError
from roadstead.metadata.marks import Marks, clear, let_go
from roadstead.metadata.rebuild import Operation, Rebuild, Rebuilt, Value
from roadstead.metadata.schema import state
from roadstead.metadata.session import Session
from roadstead.metadata.volume import Volume
from roadstead.metadata.writer import Writer

_log = logging.getLogger("roadstead.metadata")

_SLACK_SECONDS = 60.0
"""Data may become visible so long after the last row was written, and still be ours."""
_RETRY_SECONDS = 60.0
_LOGGED_SECONDS = 10.0


class _StoppedError(Exception):
    """The process ends."""


class Rebuilder:
    """Rebuilds in the background whenever the database says that it is not whole."""

    def __init__(
        self,
        volume: Volume,
        marks: Marks,
        writer: Writer,
        lock: Path,
        *,
        settled: Callable[[], None],
    ) -> None:
        """``settled`` is called when a rebuild ends, in its thread; ``lock`` is its lock's file."""
        self._volume = volume
        self._marks = marks
        self._writer = writer
        self._lock = lock
        self._settled = settled
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metadata-rebuild", daemon=True)
        self.progress: float | None = None
        """From 0 to 1 while one runs."""

    def start(self) -> None:
        """Wait for work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop a running rebuild; the next start begins it anew."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def want(self) -> None:
        """See to it that the database becomes whole."""
        self._wanted.set()

    def look_at(self, session: Session, connection: sa.Connection) -> None:
        """Note, in the first transaction of a session, whether the layout is newer.

        Only the first process to open the database can tell its own writes from those of
        another program.
        """
        row = connection.execute(sa.select(state)).one()
        is_older = session.alone and self._is_older(row.closed_as, row.written_at)
        if row.is_whole and is_older:
            _log.warning("the volume was changed by another program; metadata is rebuilt")
        connection.execute(
            sa.update(state).values(is_whole=row.is_whole and not is_older, closed_as="")
        )

    def rebuild(self, progress: Callable[[float], None]) -> Rebuilt:
        """Rebuild now, in this thread.

        Raises:
            OSError: the volume cannot be read.
            MetadataError: the database cannot be written.
        """
        with self._locked(), self._debts():
            return self._rebuild(progress)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for a rebuild of another process."""
        with FileIO(self._lock, "a") as lock:
            while not _try_lock(lock):
                if self._stopping.wait(0.5):
                    raise _StoppedError
            yield

    @contextmanager
    def _debts(self) -> Iterator[bool]:
        """Take over what is owed: paid when the block ends well. Yield whether anything is."""
        taken = self._marks.take()
        # Debts from here on leave a new mark.
        self._writer.owes = False
        try:
            yield bool(taken)
        except BaseException:
            let_go(taken)
            raise
        clear(taken)

    def _rebuild(self, progress: Callable[[float], None]) -> Rebuilt:
        def report(done: float) -> None:
            self.progress = done
            progress(done)

        report(0.0)
        try:
            return Rebuild(self._volume, self._commit, now=time.time(), progress=report)()
        finally:
            self.progress = None

    def _commit(self, operation: Operation[Value]) -> Value:
        return self._writer.submit(operation).result()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._stopping.is_set():
                return
            try:
                self._rebuild_quietly()
            except _StoppedError:
                return
            except (OSError, MetadataError) as error:
                _log.error(
                    "rebuilding metadata failed; it is tried again",
                    extra={"fields": {"error": str(error)}},
                )
                if not self._stopping.wait(_RETRY_SECONDS):
                    self._wanted.set()
            self._settled()

    def _rebuild_quietly(self) -> None:
        """Rebuild with half of one processor at most, and tell the log how it goes."""
        started = worked = time.monotonic()
        # What takes no longer than a moment is told of at its end.
        logged = started + 1 - _LOGGED_SECONDS

        def pause(done: float) -> None:
            nonlocal worked, logged
            now = time.monotonic()
            if now > logged + _LOGGED_SECONDS:
                logged = now
                _log.info("metadata is being rebuilt from the layout: %.0f %%", done * 100)
            # Python runs one thread at a time: the mirror's must not wait for this one.
            if self._stopping.wait(now - worked):
                raise _StoppedError
            worked = time.monotonic()

        with self._locked(), self._debts() as owing:
            if not owing and self._commit(is_whole):
                return
            found = self._rebuild(pause)
        _log.info(
            "metadata is rebuilt: %d repositories, %d manifests, %d blobs in %.1f s",
            found.repositories,
            found.manifests,
            found.data,
            time.monotonic() - started,
        )

    def _is_older(self, closed_as: str, written_at: float) -> bool:
        if closed_as:
            return closed_as != self._volume.appearance()
        return self._volume.last_change() > written_at + _SLACK_SECONDS


def is_whole(connection: sa.Connection) -> bool:
    """Say whether the database says that it is whole; marks are another matter."""
    return bool(connection.scalar(sa.select(state.c.is_whole)))


def _try_lock(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
