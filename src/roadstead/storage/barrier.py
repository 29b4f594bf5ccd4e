"""The write barrier: nothing is removed between the look at data and the link to it.

Whoever writes a link holds a shared lock for the moment in which it looks at the data and
writes; whoever removes holds the lock alone, in short batches. The locks are those of the
operating system (flock), so that they hold between processes and end with their owner.
Readers take none: an open file survives its removal.

flock prefers whoever comes while others hold a shared lock, so a remover could wait for ever.
Everybody therefore passes a gate first, a second lock that is let go as soon as the first one
is got: a waiting remover keeps the gate shut for those who come later, and writers that wait
for a remover keep it shut for the next remover.
"""

import errno
import fcntl
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from roadstead.errors import StorageBusyError, StorageUnavailableError
from roadstead.oci.digest import Digest
from roadstead.storage.boundary import storage_errors
from roadstead.storage.durability import make_directories
from roadstead.storage.epoch import RemovalEpoch
from roadstead.storage.journal import Journal, Journals, Lock, give_to_owner_of

_log = logging.getLogger("roadstead.storage")

LINK_PATIENCE_SECONDS: Final = 30.0
"""How long a link may wait to be written; who has not written it by then never will."""
_REMOVAL_PATIENCE_SECONDS: Final = 10.0
# Longer than a remover waits, who keeps writers waiting meanwhile.
_SHORTEST_PAUSE_SECONDS: Final = 0.000_5
_LONGEST_PAUSE_SECONDS: Final = 0.01

# What a file system without locks answers (some NFS and FUSE mounts).
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})


class Barrier:
    """The barrier of one store, whose own directory is ``directory``; blocks, for threads.

    On a file system without locks links are written unprotected and removers are refused, so
    that nothing can be lost there. ``lock`` is ``fcntl.flock``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        epoch: RemovalEpoch,
        lock: Lock = fcntl.flock,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._journals = Journals(directory / "marks", lock)
        self._lock = lock
        self._clock = clock
        self._sleep = sleep
        self._warned = False
        self._epoch = epoch

    @contextmanager
    def linking(self, digests: Iterable[Digest]) -> Iterator[None]:
        """Keep removers away while links to ``digests`` are written; tell running marks.

        Raises:
            StorageUnavailableError: a remover did not let go of the lock in time.
            StorageError: the lock or a journal cannot be written.
        """
        with storage_errors("locking out removals"):
            lock = self._enter(fcntl.LOCK_SH, LINK_PATIENCE_SECONDS)
        with closing(lock):
            with storage_errors("noting a link"):
                self._journals.note(digests)
            yield

    @contextmanager
    def removing(self) -> Iterator[None]:
        """Keep link writers and other removers away; for about 50 ms at a time.

        At the end other processes come to know that something was removed.

        Raises:
            StorageUnavailableError: links are being written without end, or there are no locks.
            StorageError: the lock cannot be opened.
        """
        with storage_errors("locking out writers"):
            lock = self._enter(fcntl.LOCK_EX, _REMOVAL_PATIENCE_SECONDS)
        with closing(lock):
            try:
                yield
            finally:
                with storage_errors("telling of removals"):
                    self._epoch.advance()

    @contextmanager
    def mark(self) -> Iterator[Journal]:
        """Begin to note links. All that were written before can be seen on disk by then.

        Raises:
            As ``removing``.
        """
        with (
            storage_errors("beginning a journal"),
            closing(self._enter(fcntl.LOCK_EX, _REMOVAL_PATIENCE_SECONDS)),
        ):
            path, file = self._journals.begin()
        try:
            yield Journal(file)
        finally:
            path.unlink(missing_ok=True)
            file.close()

    @contextmanager
    def alone(self, name: str, *, needs_locks: bool = True) -> Iterator[None]:
        """Hold a lock of that name, which only one can have at a time; do not wait for it.

        With ``needs_locks`` False it is taken for granted where there are none.

        Raises:
            StorageBusyError: another one has it.
            StorageError: there are no locks, or it cannot be opened.
        """
        with storage_errors("locking out others"), closing(self._open(name)) as file:
            try:
                self._lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"{name} is held: another process is doing this"
                raise StorageBusyError(message) from None
            except OSError as error:
                if needs_locks or error.errno not in _NO_LOCKS:
                    raise
            yield

    def _enter(self, kind: int, patience_seconds: float) -> FileIO:
        """Get the lock, through the gate; closing the file lets go of it."""
        deadline = self._clock() + patience_seconds
        with closing(self._open("links.gate")) as gate:
            file = self._open("links.lock")
            try:
                self._wait(gate, kind, deadline)
                self._wait(file, kind, deadline)
            except BaseException:
                file.close()
                raise
            return file

    def _wait(self, file: FileIO, kind: int, deadline: float) -> None:
        """Try again and again: flock itself would wait without limit."""
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            try:
                self._lock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock() > deadline:
                    message = "the lock on links is held by another process for too long"
                    raise StorageUnavailableError(message) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                self._without_locks(kind, error)
                return
            else:
                return
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _without_locks(self, kind: int, error: OSError) -> None:
        message = "the file system of the store has no locks (flock), so nothing can be removed"
        if kind == fcntl.LOCK_EX:
            raise StorageUnavailableError(message) from error
        if not self._warned:
            self._warned = True
            _log.warning(message)

    def _open(self, name: str) -> FileIO:
        path = self._directory / name
        try:
            return path.open("r+b", buffering=0)
        except FileNotFoundError:
            make_directories(self._directory)
            # While there is room: on a full disk a removal must not need any.
            self._journals.prepare()
            self._epoch.prepare()
            file = path.open("ab", buffering=0)
            give_to_owner_of(self._directory.parent, file)
            return file
