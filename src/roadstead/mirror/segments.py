"""A blob over several connections at once, where one of them is the bottleneck.

The first transfer goes on as it began. When it turns out to be slow, helpers fetch the segments
ahead of it, each into a nameless file, and the reader gets all of it in order: to whoever reads,
it is one BlobTransfer. So whatever is hashed, written and shown is what is contiguous, and a crash
loses only the segments ahead.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import BinaryIO, Protocol

from roadstead.errors import UpstreamError, UpstreamUnreachableError
from roadstead.mirror.pace import Pace, PaceRules
from roadstead.mirror.pump import RetryPolicy
from roadstead.upstream.base import BlobTransfer

_READ_BYTES = 256 * 1024
_TOO_EARLY = "it ended too early"
_OTHER_SIZE = "the blob has another size now"
_STOPPED = "the transfer was stopped"


class Segment:
    """The bytes from ``start`` to ``stop``, of which those before ``position`` have arrived."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.position = start
        self.failure: Exception | None = None
        self._file: BinaryIO | None = None
        self._users = 2
        self._lock = threading.Lock()

    def open(self, scratch: Callable[[], BinaryIO]) -> None:
        """Have a file; before the first ``append``."""
        self._file = scratch()

    def append(self, chunk: bytes) -> None:
        """Take what comes next.

        Raises:
            OSError: the disk does not.
        """
        assert self._file is not None  # noqa: S101 - tells the type checker what open did
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._file.fileno(), view, self.position - self.start)
            self.position += written
            view = view[written:]

    def read(self, position: int) -> bytes:
        """Return bytes at ``position`` that have arrived."""
        assert self._file is not None  # noqa: S101 - as above
        count = min(self.position - position, _READ_BYTES)
        return os.pread(self._file.fileno(), count, position - self.start)

    def let_go(self) -> None:
        """Be one user less, of reader and helper; the second one closes the file."""
        with self._lock:
            self._users -= 1
            if not self._users and self._file is not None:
                self._file.close()


class Helpers(Protocol):
    """Threads to fetch segments in, as many as other transfers leave."""

    def take(self) -> bool:
        """Have one, or not."""

    def run(self, work: Callable[[], None]) -> None:
        """Use the one that was taken; at the end of ``work`` it is given back."""

    def refused(self, error: Exception) -> None:
        """Hear why a part could not be had."""


class SegmentedTransfer:
    """A BlobTransfer that may use several connections; see BlobTransfer for the contract.

    ``read`` and ``close`` belong to one thread, ``abort`` to any.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, by name
        self,
        main: BlobTransfer,
        *,
        open_part: Callable[[int, int | None], BlobTransfer],
        scratch: Callable[[], BinaryIO],
        helpers: Helpers,
        ended: Callable[[bool], None],
        host: str,
        rules: PaceRules,
        retry: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with ``main``.

        ``open_part`` opens a transfer of the bytes from an offset to another (None: the end);
        ``scratch`` gives a nameless file; ``ended`` hears whether parts were asked for, when all
        is closed; ``host`` stands in messages.
        """
        self.start = main.start
        self.size_bytes = main.size_bytes
        self._main: BlobTransfer | None = main
        self._main_stop: int | None = None
        self._open_part = open_part
        self._scratch = scratch
        self._threads = helpers
        self._ended: Callable[[bool], None] | None = ended
        self._host = host
        self._rules = rules
        self._retry = retry
        self._clock = clock
        self._position = main.start
        self._pace: Pace | None = None
        self._received = 0
        self._waited = 0.0
        self._news = threading.Condition()
        self._segments: deque[Segment] = deque()
        self._next_start = 0
        self._segment_bytes = 0
        self._helpers = 0
        self._helping: set[BlobTransfer] = set()
        self._stopping = threading.Event()

    def read(self) -> bytes:
        """See BlobTransfer."""
        if self._stopping.is_set():
            raise self._failed(_STOPPED)
        segment = self._segment_here()
        if segment is not None:
            chunk = self._from_segment(segment)
        elif self._main is None and self._position == self.size_bytes:
            chunk = b""
        else:
            chunk = self._from_main()
        if self.size_bytes is not None:
            self._steer(self.size_bytes)
        return chunk

    def close(self) -> None:
        """See BlobTransfer."""
        self._stop_helpers()
        with self._news:
            segments, self._segments = self._segments, deque()
        for segment in segments:
            segment.let_go()
        if self._main is not None:
            self._main.close()
            self._main = None
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self._segment_bytes > 0)

    def abort(self) -> None:
        """See BlobTransfer."""
        self._stop_helpers()
        main = self._main
        if main is not None:
            main.abort()

    def _segment_here(self) -> Segment | None:
        """Return the segment to read on in; none while the first transfer is to be read."""
        with self._news:
            while self._segments and self._position >= self._segments[0].start:
                first = self._segments[0]
                if first.failure is None or self._main is None or self._main_stop == first.start:
                    return first
                # The first transfer was not ended for it yet, and goes on through it.
                self._segments.popleft()
                first.let_go()
        return None

    def _from_main(self) -> bytes:
        """Read on in the first transfer, up to where a segment begins."""
        began = self._clock()
        main = self._main or self._new_main()
        try:
            chunk = main.read()
        except UpstreamError as error:
            if not self._segments or not error.retryable or self._stopping.is_set():
                raise
            # What helpers have fetched ahead is worth another connection for the gap before it.
            main.close()
            main = self._new_main()
            chunk = main.read()
        self._waited += self._clock() - began
        with self._news:
            sound = (one.start for one in self._segments if one.failure is None)
            stop = next(sound, self._main_stop)
            if stop is not None:
                chunk = chunk[: stop - self._position]
                if not chunk:
                    raise self._failed(_TOO_EARLY)
            self._position += len(chunk)
            self._received += len(chunk)
        if self._position == stop:
            main.close()
            self._main = None
        return chunk

    def _new_main(self) -> BlobTransfer:
        """Open a transfer of what lies before the first segment, or of all that is left."""
        with self._news:
            while self._segments and self._segments[0].failure is not None:
                self._segments.popleft().let_go()
            stop = self._segments[0].start if self._segments else None
        self._main_stop = stop
        self._main = self._open_part(self._position, stop)
        return self._main

    def _from_segment(self, segment: Segment) -> bytes:
        began = self._clock()
        with self._news:
            while segment.position <= self._position:
                if segment.failure is not None or self._stopping.is_set():
                    raise self._failed(segment.failure or _STOPPED) from segment.failure
                self._news.wait()
        self._waited += self._clock() - began
        try:
            chunk = segment.read(self._position)
        except OSError as error:
            raise self._failed(error) from error
        with self._news:
            self._position += len(chunk)
            if self._position == segment.stop:
                self._segments.popleft()
                segment.let_go()
        return chunk

    def _failed(self, why: object) -> UpstreamUnreachableError:
        return UpstreamUnreachableError(f"a part could not be fetched: {why}", upstream=self._host)

    def _steer(self, size: int) -> None:
        """Have as many helpers as pay."""
        now = self._clock()
        with self._news:
            received = self._received
        if self._pace is None:
            self._pace = Pace(self._rules, now=now, received=received, waited=self._waited)
            return
        left = size - max(self._position, self._next_start)
        wanted = self._pace.look(now, received=received, waited=self._waited, left=left)
        if wanted <= 1:
            return
        if not self._segment_bytes:
            self._segment_bytes = self._rules.segment_bytes(left)
            self._next_start = self._position + self._segment_bytes
        while self._has_work(size, self._helpers + 1) and self._threads.take():
            with self._news:
                self._helpers += 1
            segment = self._next_segment()
            self._threads.run(partial(self._help, segment))

    def _has_work(self, size: int, helpers: int) -> bool:
        """Say whether that many helpers are not too many."""
        wanted = self._pace.wanted if self._pace is not None else 1
        if wanted <= 1 or helpers > wanted - (self._main is not None):
            return False
        # Bounded, so that a slow reader does not have the whole blob on disk twice.
        return self._next_start < size and len(self._segments) < 2 * self._rules.connections

    def _help(self, segment: Segment | None) -> None:
        """Fetch segments until there is no work; in a helper's thread."""
        try:
            while segment is not None:
                try:
                    self._fetch(segment)
                except Exception as error:  # noqa: BLE001 - the thread's boundary: the reader waits
                    with self._news:
                        segment.failure = error
                        self._news.notify_all()
                    self._give_up(error)
                finally:
                    segment.let_go()
                segment = self._next_segment()
        finally:
            with self._news:
                self._helpers -= 1

    def _next_segment(self) -> Segment | None:
        size = self.size_bytes
        with self._news:
            if size is None or self._stopping.is_set() or not self._has_work(size, self._helpers):
                return None
            start = self._next_start
            if not self._segments:
                # The first transfer may have come this far meanwhile.
                start = max(start, self._position + self._segment_bytes)
            if start >= size:
                return None
            segment = Segment(start, min(start + self._segment_bytes, size))
            self._next_start = segment.stop
            self._segments.append(segment)
            return segment

    def _fetch(self, segment: Segment) -> None:
        segment.open(self._scratch)
        failures = 0
        while segment.position < segment.stop:
            before = segment.position
            try:
                with closing(self._open_part(before, segment.stop)) as transfer:
                    self._copy(transfer, segment)
            except UpstreamError as error:
                failures = 0 if segment.position > before else failures + 1
                if not error.retryable or failures > self._retry.attempts:
                    raise
                if self._stopping.wait(self._retry.delay_seconds(failures)):
                    raise

    def _copy(self, transfer: BlobTransfer, segment: Segment) -> None:
        if transfer.size_bytes not in {None, self.size_bytes}:
            raise self._failed(_OTHER_SIZE)
        with self._news:
            self._helping.add(transfer)
        try:
            while not self._stopping.is_set() and (chunk := transfer.read()):
                segment.append(chunk)
                with self._news:
                    self._received += len(chunk)
                    self._news.notify_all()
        finally:
            with self._news:
                self._helping.discard(transfer)
        if segment.position < segment.stop:
            raise self._failed(_TOO_EARLY)

    def _give_up(self, error: Exception) -> None:
        if self._pace is not None and not self._stopping.is_set():
            self._pace.give_up()
            self._threads.refused(error)

    def _stop_helpers(self) -> None:
        self._stopping.set()
        with self._news:
            for transfer in self._helping:
                transfer.abort()
            self._news.notify_all()
