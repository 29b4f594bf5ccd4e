"""Carries one blob from upstream into its partial file, in a thread of its own.

The pump reads, hashes and writes with blocking calls and publishes its progress; it knows
nothing of clients. A cut transfer is resumed where it stopped. The last bytes are not
published before the digest is known to be right, so that wrong content can never end cleanly
towards a reader; syncing and renaming come after that and delay nobody. A store that cannot take
the blob ends the fetch with a StorageError, and readers go on without it (see direct).
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeAlias

from roadstead.errors import (
    ContentError,
    DigestMismatchError,
    StorageError,
    StorageFullError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamUnreachableError,
)
from roadstead.mirror.room import Room
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import PartialBlob
from roadstead.telemetry import events
from roadstead.upstream.base import BlobTransfer


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is.

    ``file`` is the growing file once upstream has agreed to send; ``available`` bytes of it
    may be shown to readers; ``size_bytes`` is None while upstream has not told the size;
    ``complete`` says that the digest is right; ``error`` is what ended an incomplete fetch, or
    kept a complete one from the store. A file that could not be synced is not to be read any
    more, so nothing of it is ``available``. ``followed``: another process fetches it.
    """

    file: BinaryIO | None = None
    size_bytes: int | None = None
    available: int = 0
    complete: bool = False
    error: Exception | None = None
    followed: bool = False


Follow: TypeAlias = Callable[[Callable[[Progress], None], threading.Event], PartialBlob | None]
"""Gets the partial blob when nobody else fetches the same one; see following.Follower.open."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a transfer is resumed: after ``attempts`` failures in a row without a byte, give up.

    Before upstream has agreed to send anything, ``first_attempts`` is the limit: nobody has got
    a byte yet, and a quick error lets the client ask somebody else. Delays grow from
    ``first_delay_seconds`` by doubling up to ``longest_delay_seconds``. A write for which the disk
    has no space is tried again after each of ``room_delays_seconds``.
    """

    attempts: int = 4
    first_attempts: int = 1
    first_delay_seconds: float = 0.2
    longest_delay_seconds: float = 5.0
    room_delays_seconds: tuple[float, ...] = (0.1, 0.3)

    def delay_seconds(self, failures: int) -> float:
        """Return the pause before the next try, after so many failures in a row."""
        return min(self.first_delay_seconds * 2.0**failures, self.longest_delay_seconds)


class Pump:
    """One run of one fetch."""

    def __init__(  # noqa: PLR0913 - each is one thing to call, or a name
        self,
        *,
        digest: Digest,
        upstream: str,
        host: str,
        open_partial: Callable[[Digest], PartialBlob],
        open_transfer: Callable[[int], BlobTransfer],
        room: Room,
        publish: Callable[[Progress], None],
        observe: events.Observer,
        retry: RetryPolicy,
        follow: Follow | None = None,
    ) -> None:
        """Take what to call; ``publish`` and ``observe`` are called from the pump's thread.

        ``upstream`` is the name in metrics, ``host`` the one in messages. ``follow`` takes the
        place of ``open_partial`` where other processes fetch too.
        """
        self._digest = digest
        self._upstream = upstream
        self._host = host
        self._open_partial = open_partial
        self._open_transfer = open_transfer
        self._room = room
        self._publish = publish
        self._observe = observe
        self._retry = retry
        self._follow = follow
        self.has_begun = False
        """Whether it has asked upstream, or is about to; a follower may never do."""
        self._progress = Progress()
        self._stopping = threading.Event()
        self._transfer: BlobTransfer | None = None

    def stop(self) -> None:
        """Make ``run`` end soon; what has arrived stays on disk. Callable from any thread."""
        self._stopping.set()
        transfer = self._transfer
        if transfer is not None:
            transfer.abort()

    def run(self, repositories: Callable[[], frozenset[RepositoryName]]) -> bool:
        """Fetch, verify and commit; return whether the blob is in the store now.

        ``repositories`` is asked at the end for the repositories to link the blob into.
        """
        started = time.perf_counter()
        partial: PartialBlob | None = None
        try:
            partial = self._opened()
            if partial is None:
                return True
            resumed = partial.offset
            self._fill(partial)
            partial.verify()
            self._set(available=partial.offset, size_bytes=partial.offset, complete=True)
            partial.announce_verified()
            self._report_fetched(partial.offset - resumed, time.perf_counter() - started)
            self._sync(partial)
            partial.commit(repositories())
            self._observe(events.Stored(events.Kind.BLOB, partial.offset))
        except Exception as error:  # noqa: BLE001 - the thread's boundary: every reader must hear of it
            self._set(error=error)
            if partial is not None:
                self._drop(partial, error)
            return False
        else:
            return True
        finally:
            if partial is not None:
                # A private file is removed with it, which a disk in trouble may refuse.
                with suppress(StorageError):
                    partial.close()
            self._room.release()

    def _opened(self) -> PartialBlob | None:
        """Open the partial blob; None if another process has stored the blob meanwhile."""
        resumed, has_begun = 0, True
        try:
            if self._follow is None:
                partial = self._open_partial(self._digest)
            elif (followed := self._follow(self._show, self._stopping)) is not None:
                partial = followed
            else:
                has_begun = False
                return None
            resumed = partial.offset
            self._progress = replace(self._progress, followed=False)
            return partial
        finally:
            if has_begun:
                self.has_begun = True
                self._observe(events.FlightStarted(resumed_bytes=resumed))

    def _sync(self, partial: PartialBlob) -> None:
        try:
            partial.sync()
        except StorageError:
            # What the file gives from here on may be anything.
            self._set(available=0, complete=False)
            raise

    def _drop(self, partial: PartialBlob, error: Exception) -> None:
        """Remove what must not, or need not, be resumed.

        A full disk gets its space back, and what was written before a disk failed is not
        trusted. A blob that was complete and only could not be renamed stays.
        """
        is_failed_write = isinstance(error, StorageError) and not self._progress.complete
        if isinstance(error, ContentError) or is_failed_write or not partial.offset:
            with suppress(StorageError):
                partial.discard()

    def _report_fetched(self, size_bytes: int, seconds: float) -> None:
        self._observe(events.Fetched(events.Kind.BLOB, size_bytes, seconds, self._upstream))

    def _fill(self, partial: PartialBlob) -> None:
        """Transfer until all is written, resuming as long as each try brings something."""
        failures = 0
        # A process that died when all had arrived leaves nothing to ask for.
        while partial.offset != self._progress.size_bytes:
            before = partial.offset
            try:
                self._transfer_once(partial)
            except UpstreamError as error:
                failures = 0 if partial.offset > before else failures + 1
                begun = self._progress.file is not None
                limit = self._retry.attempts if begun else self._retry.first_attempts
                if not error.retryable or failures > limit:
                    raise
                if self._stopping.wait(self._retry.delay_seconds(failures)):
                    raise
                self._observe(events.TransferResumed(partial.offset))
            else:
                return

    def _transfer_once(self, partial: PartialBlob) -> None:
        self._end_if_stopping()
        with closing(self._open_transfer(partial.offset)) as transfer:
            self._transfer = transfer
            try:
                # Asked again: a stop during the opening found no transfer to abort.
                self._end_if_stopping()
                surplus = self._align(partial, transfer)
                self._check_size(partial, transfer.size_bytes)
                self._copy(partial, transfer, surplus)
            finally:
                self._transfer = None

    def _end_if_stopping(self) -> None:
        if self._stopping.is_set():
            message = "the transfer was stopped"
            raise UpstreamUnreachableError(message, upstream=self._host)

    def _align(self, partial: PartialBlob, transfer: BlobTransfer) -> bytes:
        """Bring a transfer that began at 0 to where the file ends; return what was read beyond.

        The skipped prefix is hashed and compared with what is on disk (and may have been shown
        to readers): a registry that ignores Range must not splice two different contents.
        """
        if transfer.start == partial.offset:
            return b""
        if transfer.start != 0:
            message = f"the transfer began at {transfer.start} and not at {partial.offset}"
            raise UpstreamProtocolError(message, upstream=self._host)
        if transfer.size_bytes is not None and transfer.size_bytes < partial.offset:
            return self._begin_anew(partial)
        hasher = self._digest.hasher()
        remaining = partial.offset
        chunk = b""
        while remaining > 0:
            chunk = transfer.read()
            if not chunk:
                if not self._progress.available:
                    return self._begin_anew(partial)
                message = "the transfer ended before the point to resume at"
                raise UpstreamUnreachableError(message, upstream=self._host)
            hasher.update(chunk[:remaining])
            surplus = chunk[remaining:]
            remaining -= len(chunk)
            if remaining <= 0:
                chunk = surplus
        if hasher.hexdigest() != partial.prefix_hexdigest():
            return self._begin_anew(partial)
        return chunk

    def _begin_anew(self, partial: PartialBlob) -> bytes:
        """Drop a prefix that upstream contradicts, unless a reader may have seen it."""
        if self._progress.available > 0:
            raise DigestMismatchError(str(self._digest), "another content than before the cut")
        partial.restart()
        message = "the partial download on disk was not the beginning of this blob"
        raise UpstreamUnreachableError(message, upstream=self._host)

    def _check_size(self, partial: PartialBlob, size_bytes: int | None) -> None:
        known = self._progress.size_bytes
        if known is not None and size_bytes not in (None, known):
            message = f"the size changed from {known} to {size_bytes} bytes"
            raise UpstreamProtocolError(message, upstream=self._host)
        size = known if known is not None else size_bytes
        self._room.take(size)
        partial.announce(self._room.repository, size)
        file = self._progress.file or partial.open_reader()
        # All that is on disk may be shown, but for the last byte: see the module's first words.
        available = partial.offset if size is not None and partial.offset < size else 0
        self._set(file=file, size_bytes=size, available=max(available, self._progress.available))

    def _copy(self, partial: PartialBlob, transfer: BlobTransfer, surplus: bytes) -> None:
        size = self._progress.size_bytes
        chunk = surplus or transfer.read()
        while chunk:
            # With an unknown size any chunk may be the last one, so it waits for its successor.
            held_back = partial.offset
            self._write(partial, chunk)
            self._end_if_stopping()
            available = held_back if size is None or partial.offset >= size else partial.offset
            self._set(available=available)
            chunk = transfer.read()
        if size is not None and partial.offset != size:
            message = f"{partial.offset} bytes arrived instead of {size}"
            raise UpstreamUnreachableError(message, upstream=self._host)

    def _write(self, partial: PartialBlob, chunk: bytes) -> None:
        """Write; where the disk is full, try again when something may have been evicted."""
        if self._progress.size_bytes is None:
            self._room.grow(partial.offset + len(chunk))
        end = partial.offset + len(chunk)
        for delay_seconds in (*self._retry.room_delays_seconds, None):
            try:
                partial.write(chunk[len(chunk) - (end - partial.offset) :])
            except StorageFullError:
                self._room.note_full()
                if delay_seconds is None or self._stopping.wait(delay_seconds):
                    raise
            else:
                return

    def _set(self, **changes: object) -> None:
        self._show(replace(self._progress, **changes))  # type: ignore[arg-type] # its own fields

    def _show(self, progress: Progress) -> None:
        self._progress = progress
        self._publish(progress)
