"""One running upstream fetch per digest, and its readers.

A flight belongs to the process and not to the request that started it. Its pump writes a file;
every reader follows that file at its own speed, so a slow or vanished client harms nobody and
memory does not grow with clients.

Threads: the pump publishes immutable Progress values from its thread; all else here runs on the
event loop.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from roadstead.errors import StorageError, StorageUnavailableError
from roadstead.mirror.content import PassOn
from roadstead.mirror.following import Follower
from roadstead.mirror.parallel import ParallelTransfers
from roadstead.mirror.pump import Follow, Progress, Pump, RetryPolicy
from roadstead.mirror.room import Room
from roadstead.mirror.space import SpaceKeeper, Unlimited
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import Store
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from roadstead.telemetry.tracing import UNTRACED, Tracer

_log = logging.getLogger("roadstead.flight")

# A range this far ahead of what has arrived is still worth waiting for: at 100 MB/s it is less
# than a tenth of a second, about what asking upstream for it separately would take.
NEAR_BYTES = 8 * 1024 * 1024


# Readers hear of news at most so often. A fast upstream brings thousands of pieces in a second,
# and as many turns of each reader would leave small requests waiting. The first waits for nothing.
NEWS_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class FlightReport:
    """How a flight stands, for operators; sizes in bytes."""

    digest: str
    repositories: list[str]
    available_bytes: int
    size_bytes: int | None
    readers: int


class Flight:
    """A fetch as its readers see it."""

    def __init__(
        self,
        digest: Digest,
        repository: RepositoryName,
        *,
        observe: events.Observer = events.ignore,
        tracer: Tracer = UNTRACED,
    ) -> None:
        """Begin its span, as a part of what is current: the request that starts it."""
        self.digest = digest
        self._observe = observe
        self._tracer = tracer
        told = {"roadstead.digest": str(digest), "roadstead.repository": repository}
        self.span = tracer.start("fetch blob", attributes=told)
        self.began_at = time.time()
        self.repositories = {repository}
        self._loop = asyncio.get_running_loop()
        self._published = Progress()
        self._progress = Progress()
        self._wake_scheduled = False
        self._woken_at = -math.inf
        self._waiters: list[asyncio.Future[None]] = []
        self._readers = 0
        self._over = asyncio.Event()

    def __repr__(self) -> str:
        progress = self._progress
        return (
            f"<Flight {self.digest} {progress.available}/{progress.size_bytes} bytes, "
            f"{self._readers} readers, complete={progress.complete}, error={progress.error!r}>"
        )

    @property
    def progress(self) -> Progress:
        """How far it is, as of the last turn of the event loop."""
        return self._progress

    async def join(self, outcome: Outcome, *, pass_on: PassOn) -> "FlightReader":
        """Wait until upstream has agreed to send, and become a reader.

        ``pass_on`` is where the reader goes on if the store cannot take the blob.

        Raises:
            RoadsteadError: upstream refused, or the store cannot take it.
        """
        self._readers += 1
        self._observe(events.ReadersChanged(1))
        if outcome is Outcome.JOINED:
            self._tracer.wait_for(self.span)
        try:
            while (file := self._progress.file) is None:
                await self._next_news()
        except BaseException:
            self.leave()
            raise
        if self._progress.followed:
            outcome = Outcome.JOINED
        return FlightReader(self, file, outcome, pass_on=pass_on)

    @property
    def has_failed(self) -> bool:
        """Whether nobody can join any more, although it has not ended yet."""
        return self._progress.error is not None

    async def wait_over(self) -> None:
        """Wait until another flight can be started."""
        await self._over.wait()

    async def wait_beyond(self, offset: int) -> int:
        """See BlobReader.wait_beyond."""
        while True:
            progress = self._progress
            if progress.available > offset or progress.complete:
                return progress.available
            await self._next_news()

    def report(self) -> FlightReport:
        """Say how it stands."""
        return FlightReport(
            digest=str(self.digest),
            repositories=sorted(self.repositories),
            available_bytes=self._progress.available,
            size_bytes=self._progress.size_bytes,
            readers=self._readers,
        )

    def leave(self) -> None:
        """Be one reader less."""
        self._readers -= 1
        self._observe(events.ReadersChanged(-1))
        self._close_if_unused()

    def publish(self, progress: Progress) -> None:
        """Take the pump's news, from its thread; many pieces of news may become one wake-up."""
        self._published = progress
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon_threadsafe(self._wake_in_time)

    def end(self) -> None:
        """Note that the pump is done; called on the loop."""
        self._over.set()
        self._wake()
        self._close_if_unused()

    def _wake_in_time(self) -> None:
        wait_seconds = self._woken_at + NEWS_SECONDS - self._loop.time()
        if wait_seconds > 0 and not self._published.complete:
            self._loop.call_later(wait_seconds, self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        # Cleared first: news published from here on schedules another wake-up.
        self._wake_scheduled = False
        self._woken_at = self._loop.time()
        self._progress = self._published
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _next_news(self) -> None:
        if self._progress.error is not None:
            raise self._progress.error
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _close_if_unused(self) -> None:
        if self._over.is_set() and self._readers == 0 and self._progress.file is not None:
            self._progress.file.close()


class FlightReader:
    """One client's view of a flight: a BlobReader."""

    def __init__(
        self, flight: Flight, file: BinaryIO, outcome: Outcome, *, pass_on: PassOn
    ) -> None:
        self._flight = flight
        self._pass_on = pass_on
        self._closed = False
        self.file = file
        self.outcome = outcome

    @property
    def size_bytes(self) -> int | None:
        """See BlobReader."""
        return self._flight.progress.size_bytes

    async def wait_beyond(self, offset: int) -> int:
        """See BlobReader."""
        return await self._flight.wait_beyond(offset)

    def is_near(self, offset: int) -> bool:
        """See BlobReader."""
        progress = self._flight.progress
        return progress.complete or offset <= progress.available + NEAR_BYTES

    def pass_on(self, offset: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See BlobReader."""
        return self._pass_on(offset, self.file)

    def close(self) -> None:
        """See BlobReader."""
        if not self._closed:
            self._closed = True
            self._flight.leave()


class Flights:
    """All running fetches of all upstreams: at most one per digest."""

    def __init__(
        self,
        store: Store,
        *,
        observe: events.Observer,
        retry: RetryPolicy | None = None,
        space: SpaceKeeper | None = None,
        shared: bool = False,
        tracer: Tracer = UNTRACED,
    ) -> None:
        """``space`` decides what is kept; without one, everything is.

        ``shared``: other processes fetch into the same store, which shares its partial blobs.
        """
        self._store = store
        self._shared = shared
        self._tracer = tracer
        self._space = space or Unlimited()
        self._observe = observe
        self._retry = retry or RetryPolicy()
        self._running: dict[Digest, tuple[Flight, Pump, asyncio.Task[None]]] = {}
        self._closing = False

    def get(self, digest: Digest) -> Flight | None:
        """Return the running flight of ``digest``, if there is one."""
        running = self._running.get(digest)
        return running[0] if running is not None else None

    @property
    def under_way(self) -> int:
        """How many there are."""
        return len(self._running)

    def start(
        self,
        transfers: ParallelTransfers,
        repository: RepositoryName,
        digest: Digest,
        *,
        lane: Executor,
        replaces: bool = False,
    ) -> Flight:
        """Start a flight for a digest that has none, in a thread of ``lane``.

        ``transfers`` are those of the upstream. Each upstream has its own lane, so that a silent
        one cannot take the threads of another. ``replaces``: data that is held is damaged.

        Raises:
            StorageUnavailableError: the process is stopping.
        """
        if self._closing:
            message = "the mirror is stopping"
            raise StorageUnavailableError(message)
        loop = asyncio.get_running_loop()
        flight = Flight(digest, repository, observe=self._observe, tracer=self._tracer)
        pump = Pump(
            digest=digest,
            upstream=transfers.name,
            host=transfers.host,
            open_partial=self._store.partial_blob,
            open_transfer=lambda offset: transfers.open(repository, digest, offset),
            room=Room(self._space, repository, digest),
            publish=flight.publish,
            observe=self._observe,
            retry=self._retry,
            follow=self._follower(transfers, repository, digest, replaces=replaces),
        )
        task = loop.create_task(self._run(flight, pump, lane))
        task.add_done_callback(lambda _: transfers.note_flight(digest, flight.progress.error))
        self._running[digest] = (flight, pump, task)
        return flight

    def pulling_since(self) -> dict[RepositoryName, float]:
        """Say when the oldest flight of each repository began, in seconds since the epoch."""
        since: dict[RepositoryName, float] = {}
        for flight, _, _ in list(self._running.values()):
            for repository in list(flight.repositories):
                since[repository] = min(flight.began_at, since.get(repository, flight.began_at))
        return since

    def reports(self) -> list[FlightReport]:
        """Say how each running flight stands."""
        return [flight.report() for flight, _, _ in self._running.values()]

    async def landed(self) -> None:
        """Wait until the flights that are under way now have ended."""
        tasks = [task for _, _, task in self._running.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop all flights; their partial files stay, to be resumed by the next process."""
        self._closing = True
        # Youngest first: those that wait for a thread must not get the one of an older flight.
        for _, pump, _ in reversed(self._running.values()):
            pump.stop()
        await self.landed()

    def _follower(
        self,
        transfers: ParallelTransfers,
        repository: RepositoryName,
        digest: Digest,
        *,
        replaces: bool,
    ) -> Follow | None:
        if not self._shared:
            return None
        loop = asyncio.get_running_loop()

        async def confirm_unless_linked() -> None:
            if await self._store.stat_blob(repository, digest) is None:
                await transfers.confirm(repository, digest)

        def confirm() -> None:
            asyncio.run_coroutine_threadsafe(confirm_unless_linked(), loop).result()

        return Follower(
            self._store,
            repository,
            digest,
            host=transfers.host,
            confirm=confirm,
            replaces=replaces,
        ).open

    async def _run(self, flight: Flight, pump: Pump, lane: Executor) -> None:
        linked: frozenset[RepositoryName] = frozenset()

        def repositories() -> frozenset[RepositoryName]:
            nonlocal linked
            linked = frozenset(flight.repositories)
            return linked

        loop = asyncio.get_running_loop()
        with flight.span as span:
            # What the pump asks upstream is a part of the flight.
            run = partial(copy_context().run, pump.run, repositories)
            try:
                if await loop.run_in_executor(lane, run):
                    await self._link_late(flight, linked)
            finally:
                del self._running[flight.digest]
                flight.end()
            error = flight.progress.error
            span.set("roadstead.bytes", flight.progress.available)
            if error is not None:
                span.fail(type(error).__name__)
        if pump.has_begun:
            self._observe(events.FlightEnded(error=type(error).__name__ if error else None))
        # The store's trouble is told once, and not for each blob: see telemetry.storagewatch.
        if error is not None and not isinstance(error, StorageError):
            _log.warning(
                "fetching a blob failed",
                extra={"fields": {"digest": str(flight.digest), "error": str(error)}},
            )

    async def _link_late(self, flight: Flight, linked: frozenset[RepositoryName]) -> None:
        """Link the blob into the repositories that were admitted while it was committed."""
        while late := flight.repositories - linked:
            linked |= late
            for repository in late:
                try:
                    await self._store.link_blob(repository, flight.digest)
                except StorageError as error:
                    fields = {"digest": str(flight.digest), "repository": repository}
                    _log.error(
                        "a blob could not be linked",
                        extra={"fields": {**fields, "error": str(error)}},
                    )
