"""Opens the transfers of one upstream, and says how many of them may run at one time."""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import BinaryIO

from roadstead.errors import DigestMismatchError, UpstreamProtocolError
from roadstead.mirror.pace import PaceRules
from roadstead.mirror.pump import RetryPolicy
from roadstead.mirror.segments import SegmentedTransfer
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.telemetry import events
from roadstead.upstream.base import BlobTransfer, Upstream

_log = logging.getLogger("roadstead.transfer")

# How long, in seconds, an upstream gets no parts asked for: that sent wrong bytes when some were,
# that does not send parts, and that had other trouble with them.
_DISTRUST_SECONDS = 3600.0
_UNABLE_SECONDS = 600.0
_TROUBLE_SECONDS = 60.0


class ParallelTransfers:
    """The transfers of flights, which come first, and their helpers, which get what is left."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        max_transfers: int,
        scratch: Callable[[], BinaryIO],
        observe: events.Observer,
        rules: PaceRules | None = None,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream = upstream
        self._max_transfers = max_transfers
        self._scratch = scratch
        self._observe = observe
        self._rules = rules or PaceRules()
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_transfers, thread_name_prefix="segment")
        self._lock = threading.Lock()
        self._running = 0
        self._split: set[Digest] = set()
        self._whole_until = -math.inf

    @property
    def name(self) -> str:
        """The upstream's, for metrics."""
        return self._upstream.name

    @property
    def host(self) -> str:
        """The upstream's, as it stands in messages."""
        return self._upstream.host

    def open(self, repository: RepositoryName, digest: Digest, offset: int) -> BlobTransfer:
        """Begin the transfer of a flight; see Upstream.open_blob."""
        main = self._upstream.open_blob(repository, digest, offset)
        if self._rules.connections <= 1:
            return main
        with self._lock:
            self._running += 1
        return SegmentedTransfer(
            main,
            open_part=lambda first, stop: self._open_part(repository, digest, first, stop),
            scratch=self._scratch,
            helpers=self,
            ended=lambda was_split: self._note_transfer(digest, was_split=was_split),
            host=self._upstream.host,
            rules=self._rules,
            retry=self._retry,
            clock=self._clock,
        )

    async def confirm(self, repository: RepositoryName, digest: Digest) -> None:
        """Ask whether the repository has a blob that need not be transferred.

        Raises:
            BlobUnknownError: it has not.
            UpstreamError: upstream did not say.
        """
        await self._upstream.stat_blob(repository, digest)

    def note_flight(self, digest: Digest, error: Exception | None) -> None:
        """Hear how a flight ended: wrong bytes may come from the seams between parts."""
        with self._lock:
            was_split = digest in self._split
            self._split.discard(digest)
        if was_split and isinstance(error, DigestMismatchError):
            self._stay_whole(_DISTRUST_SECONDS, error)

    def close(self) -> None:
        """Let the threads go; the transfers must have ended."""
        self._threads.shutdown()

    def take(self) -> bool:
        """See Helpers."""
        with self._lock:
            if self._running >= self._max_transfers or self._clock() < self._whole_until:
                return False
            self._running += 1
            return True

    def run(self, work: Callable[[], None]) -> None:
        """See Helpers."""

        def run() -> None:
            try:
                work()
            finally:
                self._give_back()

        try:
            self._threads.submit(copy_context().run, run)
        except RuntimeError:
            # The process is stopping.
            self._give_back()

    def refused(self, error: Exception) -> None:
        """See Helpers."""
        unable = isinstance(error, UpstreamProtocolError)
        self._stay_whole(_UNABLE_SECONDS if unable else _TROUBLE_SECONDS, error)

    def _open_part(
        self, repository: RepositoryName, digest: Digest, first: int, stop: int | None
    ) -> BlobTransfer:
        transfer = self._upstream.open_blob(repository, digest, first, stop=stop)
        if transfer.start != first:
            transfer.close()
            message = f"began at {transfer.start} and not at {first}"
            raise UpstreamProtocolError(message, upstream=self._upstream.host)
        self._observe(events.SegmentStarted())
        return transfer

    def _note_transfer(self, digest: Digest, *, was_split: bool) -> None:
        self._give_back()
        if was_split:
            with self._lock:
                self._split.add(digest)

    def _give_back(self) -> None:
        with self._lock:
            self._running -= 1

    def _stay_whole(self, seconds: float, error: Exception) -> None:
        with self._lock:
            was_whole = self._clock() < self._whole_until
            self._whole_until = max(self._whole_until, self._clock() + seconds)
        if not was_whole:
            fields = {"upstream": self._upstream.host, "seconds": seconds, "error": str(error)}
            _log.warning("blobs are fetched over one connection", extra={"fields": fields})
