"""A blob read from upstream in order, piece by piece, over as many transfers as it takes."""

import os
import threading
from collections.abc import Callable

from roadstead.errors import (
    DigestMismatchError,
    StorageUnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamUnreachableError,
)
from roadstead.mirror.pump import RetryPolicy
from roadstead.oci.digest import Digest, Hasher
from roadstead.upstream.base import BlobTransfer

_HASHED_BYTES = 1024 * 1024


class BlobSource:
    """Reads one blob in order and hashes it; the methods block, but for ``abort``."""

    def __init__(
        self,
        open_transfer: Callable[[int], BlobTransfer],
        *,
        host: str,
        retry: RetryPolicy,
        hasher: Hasher,
        position: int,
    ) -> None:
        """``hasher`` has seen the bytes before ``position``."""
        self._open_transfer = open_transfer
        self._host = host
        self._retry = retry
        self._hasher = hasher
        self._transfer: BlobTransfer | None = None
        self._surplus = b""
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.position = position
        self.size_bytes: int | None = None

    def begin(self) -> None:
        """Have a transfer, so that the size is known and a refusal is told early."""
        with self._lock:
            self._patiently(lambda: b"", attempts=self._retry.first_attempts)

    def read(self) -> bytes:
        """Return what comes next; empty at the end."""
        with self._lock:
            chunk = self._patiently(self._next_chunk, attempts=self._retry.attempts)
            self._hasher.update(chunk)
            self.position += len(chunk)
            return chunk

    def verify(self, digest: Digest) -> None:
        """Compare the hash of all that was read.

        Raises:
            DigestMismatchError: it is something else.
        """
        actual = self._hasher.hexdigest()
        if actual != digest.encoded:
            raise DigestMismatchError(str(digest), f"{digest.algorithm}:{actual}")

    def abort(self) -> None:
        """End whatever blocks, from any thread."""
        self._stopping.set()
        transfer = self._transfer
        if transfer is not None:
            transfer.abort()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._drop()

    def _patiently(self, work: Callable[[], bytes], *, attempts: int) -> bytes:
        failures = 0
        while True:
            try:
                self._connect()
                return work()
            except UpstreamError as error:
                self._drop()
                failures += 1
                if not error.retryable or failures > attempts:
                    raise
                if self._stopping.wait(self._retry.delay_seconds(failures - 1)):
                    raise

    def _connect(self) -> None:
        """Open a transfer where none is open, and bring it to ``position``."""
        if self._transfer is not None:
            return
        transfer = self._transfer = self._open_transfer(self.position)
        if self._stopping.is_set():
            message = "the transfer was stopped"
            raise UpstreamUnreachableError(message, upstream=self._host)
        known, told = self.size_bytes, transfer.size_bytes
        if transfer.start not in {0, self.position} or (known and told not in {None, known}):
            message = f"began again at {transfer.start}, with {told} bytes and not {known}"
            raise UpstreamProtocolError(message, upstream=self._host)
        self.size_bytes = known if known is not None else told
        # These were hashed when they came first; if they differ now, the digest will.
        missing = self.position - transfer.start
        while missing > 0:
            chunk = transfer.read()
            if not chunk:
                message = "the transfer ended before the point to resume at"
                raise UpstreamUnreachableError(message, upstream=self._host)
            self._surplus = chunk[missing:]
            missing -= len(chunk)

    def _next_chunk(self) -> bytes:
        surplus, self._surplus = self._surplus, b""
        if surplus or self._transfer is None:
            return surplus
        return self._transfer.read()

    def _drop(self) -> None:
        transfer, self._transfer = self._transfer, None
        self._surplus = b""
        if transfer is not None:
            transfer.close()


def hash_beginning(digest: Digest, count: int, descriptor: int) -> Hasher:
    """Hash the first ``count`` bytes of a file, and close ``descriptor``; blocks.

    Raises:
        StorageUnavailableError: they cannot be read.
    """
    hasher = digest.hasher()
    position = 0
    try:
        while position < count:
            piece = os.pread(descriptor, min(_HASHED_BYTES, count - position), position)
            if not piece:
                message = "what was sent already cannot be read again: the file is shorter"
                raise StorageUnavailableError(message)
            hasher.update(piece)
            position += len(piece)
    except OSError as error:
        message = f"what was sent already cannot be read again: {error.strerror}"
        raise StorageUnavailableError(message) from error
    finally:
        os.close(descriptor)
    return hasher
