"""Hashing held data without getting in anybody's way.

Reads go at a limited rate, and leave the page cache as it was: what was in memory stays there,
what was not is dropped again. sha256 runs without Python's lock, so requests go on meanwhile.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

from roadstead.oci.digest import Digest

_CHUNK_BYTES = 1024 * 1024


class StoppedError(Exception):
    """The verification is to end now."""


class Pace:
    """Limits the rate of one thread that hashes."""

    def __init__(
        self,
        *,
        bytes_per_second: float | None = None,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """No rate is no limit; ``stopping`` ends the work wherever it is."""
        self._rate = bytes_per_second
        self._stopping = stopping or threading.Event()
        self._clock = clock
        self._due = clock()

    def spend(self, size_bytes: int) -> None:
        """Wait until so many bytes more may be read.

        Raises:
            StoppedError: it is time to end.
        """
        seconds = 0.0
        if self._rate:
            # What was not used up earlier is not made up for: that would be a burst.
            now = self._clock()
            self._due = max(self._due + size_bytes / self._rate, now)
            seconds = self._due - now
        if self._stopping.wait(seconds):
            raise StoppedError


def matches(file: BinaryIO, digest: Digest, pace: Pace) -> bool:
    """Say whether a file's bytes are those of ``digest``.

    Raises:
        OSError: it cannot be read.
        StoppedError: the verification is to end.
    """
    descriptor = file.fileno()
    # Without read-ahead, which would make the next chunk look as if it had been in memory.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    hasher = digest.hasher()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    offset = 0
    while True:
        count, was_cached = _read(descriptor, buffer, offset)
        if count == 0:
            return hasher.hexdigest() == digest.encoded
        hasher.update(buffer[:count])
        if not was_cached:
            os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_DONTNEED)
        offset += count
        pace.spend(count)


def forget_cached(file: BinaryIO) -> None:
    """Drop a file's pages, so that the next reader gets what is on the disk."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(descriptor: int, buffer: memoryview, offset: int) -> tuple[int, bool]:
    """Read a chunk; say whether all of it was in memory, as far as the file system can tell."""
    cached = -1
    try:
        cached = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError:
        # It cannot tell: better to leave too much in memory than to drop what is hot.
        return os.preadv(descriptor, [buffer], offset), True
    if cached == len(buffer):
        return cached, True
    count = os.preadv(descriptor, [buffer], offset)
    return count, count == cached
