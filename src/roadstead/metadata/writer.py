"""The one thread of a process that writes to the database.

Whatever waits when it turns to its queue becomes one transaction, so that many misses share a
sync. While the database is in trouble, records are not waited for: they leave a mark.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from roadstead.errors import MetadataError
from roadstead.metadata.ballast import Ballast
from roadstead.metadata.marks import Marks
from roadstead.metadata.schema import state
from roadstead.metadata.session import Session, is_damage
from roadstead.telemetry import events

_log = logging.getLogger("roadstead.metadata")

Value = TypeVar("Value")
Operation = Callable[[sa.Connection], Value]
Commit = Callable[[Operation[None]], bool]

_AT_ONCE = 256
"""Operations in one transaction."""
_MOST_WAITING = 20_000
"""Operations that may wait for the thread."""
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0

_written = sa.update(state).values(written_at=sa.bindparam("now"))


@dataclass(frozen=True, slots=True)
class _Task(Generic[Value]):
    operation: Operation[Value]
    done: "Future[Value]"
    is_record: bool

    def end(self, result: Value) -> None:
        # Whoever waited may have gone; the operation counts all the same.
        with suppress(InvalidStateError):
            self.done.set_result(result)

    def fail(self, message: str, cause: BaseException | None) -> None:
        error = MetadataError(message)
        error.__cause__ = cause
        with suppress(InvalidStateError):
            self.done.set_exception(error)


class Writer:
    """Opens the database, runs operations on it, and opens it again when it is in trouble.

    All callbacks are called in its thread. ``prepare`` runs in the first transaction of each
    session. ``tried`` follows each attempt to open, whether it succeeded or not, and ``drained``
    the moment at which all that waited for a new session is written. ``tick`` runs about every
    ``tick_seconds``, and before the end, with a function that commits an operation and says
    whether that went well.
    """

    def __init__(  # noqa: PLR0913 - each has a name where it is composed
        self,
        open_session: Callable[[], Session],
        marks: Marks,
        ballast: Ballast,
        *,
        prepare: Callable[[Session, sa.Connection], None],
        tried: Callable[[], None],
        drained: Callable[[], None],
        tick: Callable[[Commit], None],
        tick_seconds: float,
        observe: events.Observer,
    ) -> None:
        self._open_session = open_session
        self._marks = marks
        self._ballast = ballast
        self._prepare = prepare
        self._tried = tried
        self._drained = drained
        self._tick = tick
        self._tick_seconds = tick_seconds
        self._observe = observe
        self._news = threading.Condition()
        self._queue: list[_Task[Any]] = []
        self._stopping = False
        self._must_reopen = False
        self._appearance: Callable[[], str] | None = None
        self._thread = threading.Thread(target=self._run, name="metadata-writer", daemon=True)
        self.session: Session | None = None
        self.has_failed = False
        """Whether the last attempt to open or to write failed."""
        self.owes = False
        """Whether records were lost, so that only a rebuild makes the database whole again."""

    def start(self) -> None:
        """Begin to open the database."""
        self._thread.start()

    def stop(self, appearance: Callable[[], str] | None) -> None:
        """Write what waits, close, and wait for the end; see Session.close."""
        with self._news:
            self._stopping = True
            self._appearance = appearance
            self._news.notify_all()
        self._thread.join()

    def reopen(self) -> None:
        """Open the database anew: a reader found it damaged."""
        with self._news:
            self._must_reopen = True
            self._news.notify_all()

    def submit(self, operation: Operation[Value], *, is_record: bool = False) -> "Future[Value]":
        """Queue an operation; the future has its result, or a MetadataError.

        A record's future ends well whatever happens to the database, unless not even a mark
        could be left. It waits while the database is opened for the first time, and is done at
        once while it is in trouble.
        """
        task = _Task(operation, Future[Value](), is_record)
        with self._news:
            if self._stopping or self.has_failed or len(self._queue) >= _MOST_WAITING:
                self._refuse([task], "the metadata database is not there")
            else:
                self._queue.append(task)
                self._news.notify_all()
        return task.done

    def _run(self) -> None:
        delay = _FIRST_RETRY_SECONDS
        while not self._stopping:
            try:
                self._use(self._open())
                delay = _FIRST_RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 - the thread must not end while it is needed
                if self._ballast.throw():
                    continue
                self._fail("open", error)
                self._tried()
                delay = min(delay * 2, _LONGEST_RETRY_SECONDS)
            with self._news:
                if not self._stopping:
                    self._news.wait(delay)
        with self._news:
            left, self._queue = self._queue, []
            self._refuse(left, "the metadata database is closed")

    def _open(self) -> Session:
        session = self._open_session()
        try:
            with session.write() as connection, connection.begin():
                self._prepare(session, connection)
        except BaseException:
            session.close(None)
            raise
        return session

    def _use(self, session: Session) -> None:
        """Work with an open database until the end, or until it must be opened anew."""
        is_well = False
        try:
            with self._news:
                self.session = session
                self.has_failed = self._must_reopen = False
            self._tried()
            is_well = self._work(session)
        finally:
            with self._news:
                self.session = None
                self.has_failed = not is_well
            session.close(self._appearance if is_well else None)

    def _work(self, session: Session) -> bool:
        """Work off the queue until the end; False if the database must be opened anew."""
        self._ballast.lay()
        due = time.monotonic() + self._tick_seconds
        is_drained = False
        with session.write() as connection:
            while True:
                batch, stopping = self._next(due, is_drained=is_drained)
                if not self._is_well(session) or not self._commit(connection, batch):
                    self._refuse(batch, "the metadata database must be opened anew")
                    return False
                if not batch and not is_drained:
                    # All that was recorded while the database was opened is in it now.
                    is_drained = True
                    self._withdraw_mark()
                    self._drained()
                if time.monotonic() >= due or (stopping and not batch):
                    self._ballast.lay()
                    self._tick(lambda operation: self._commit_alone(connection, operation))
                    due = time.monotonic() + self._tick_seconds
                if stopping and not batch:
                    return True

    def _next(self, due: float, *, is_drained: bool) -> tuple[list[_Task[Any]], bool]:
        with self._news:
            if not self._queue and not self._stopping and is_drained:
                self._news.wait(max(0.0, due - time.monotonic()))
            batch, self._queue = self._queue[:_AT_ONCE], self._queue[_AT_ONCE:]
            return batch, self._stopping

    def _is_well(self, session: Session) -> bool:
        return session.is_current() and not self._must_reopen

    def _commit_alone(self, connection: sa.Connection, operation: Operation[None]) -> bool:
        task = _Task(operation, Future[None](), is_record=False)
        return self._commit(connection, [task]) and task.done.exception() is None

    def _commit(self, connection: sa.Connection, batch: Sequence[_Task[Any]]) -> bool:
        """Commit operations together; False if the database is in trouble and none was.

        One that fails for a reason of its own fails alone.
        """
        if not batch:
            return True
        try:
            with connection.begin():
                results = [task.operation(connection) for task in batch]
                connection.execute(_written, {"now": time.time()})
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for each task
            if isinstance(error, OperationalError) and self._ballast.throw():
                return self._commit(connection, batch)
            if isinstance(error, OperationalError) or is_damage(error):
                self._fail("write", error)
                self._refuse(batch, "the metadata database could not be written", error)
                return False
            if len(batch) > 1:
                return all(self._commit(connection, [task]) for task in batch)
            self._report("write", error)
            self._refuse(batch, "the metadata database refused an operation", error)
        else:
            for task, result in zip(batch, results, strict=True):
                task.end(result)
        return True

    def _refuse(
        self, tasks: Sequence[_Task[Any]], message: str, cause: BaseException | None = None
    ) -> None:
        """End tasks without the database; records succeed if a mark says that they are owed."""
        for task in tasks:
            if not task.is_record:
                task.fail(message, cause)
            elif not task.done.done() and self._leave_mark(task):
                self.owes = True
                task.end(None)

    def _leave_mark(self, task: _Task[Any]) -> bool:
        try:
            self._marks.leave()
        except OSError as error:
            task.fail("a link cannot be written: its row cannot be noted as missing", error)
            return False
        return True

    def _withdraw_mark(self) -> None:
        if not self.owes:
            with suppress(OSError):
                self._marks.withdraw()

    def _fail(self, action: str, error: BaseException) -> None:
        self._report(action, error)
        with self._news:
            self.has_failed = True
            waiting, self._queue = self._queue, []
            self._refuse(waiting, "the metadata database is not there", error)

    def _report(self, action: str, error: BaseException) -> None:
        self._observe(events.MetadataFailed(action))
        _log.error(
            "the metadata database is in trouble; serving goes on without it",
            extra={"fields": {"action": action, "error": str(getattr(error, "orig", error))}},
        )
