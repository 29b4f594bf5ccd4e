"""The SpaceKeeper of a store with limits: room is made before it is needed, never above them.

One reservation is decided after the other, on the event loop. Whoever waits for room waits for
one batch of evictions at most; a batch is started early, so that hardly anybody has to.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final, TypeVar

from roadstead.errors import MetadataError, StorageError
from roadstead.maintenance.limits import (
    RetentionRules,
    can_ever_fit,
    fits,
    wish_when_full,
    wishes_ahead,
    wishes_for,
)
from roadstead.maintenance.measure import Measure, Measured
from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.plan import Wish
from roadstead.maintenance.promises import Promise, Promises
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.telemetry import events

_log = logging.getLogger("roadstead.retention")

_STEP_BYTES: Final = 4 * 1024 * 1024
"""How much more is asked for at one time where upstream tells no size."""
_ROUNDS: Final = 4
_OPENING_SECONDS: Final = 5.0
"""How long after the start what arrives waits until it is known how much is held."""
_PAUSE_SECONDS: Final = 0.02

Value = TypeVar("Value")

Free = Callable[[Sequence[Wish], int], Awaitable[bool]]
"""Evicts so that so many bytes fit; says whether anything went. MetadataError, StorageError."""


class SpaceReservation:
    """A Reservation; see the protocol."""

    def __init__(self, keeper: "LimitKeeper", repository: RepositoryName, promise: Promise) -> None:
        self._keeper = keeper
        self._promise = promise
        self.repository = repository
        self.since = time.time()

    @property
    def digest(self) -> Digest:
        """What it is for."""
        return self._promise.digest

    @property
    def granted_bytes(self) -> int:
        """How much room there is in all."""
        return self._promise.size_bytes

    async def grow_on_loop(self, size_bytes: int) -> bool:
        """Have room for ``size_bytes`` in all; on the event loop."""
        return size_bytes <= self._promise.size_bytes or await self._keeper.grow_on_loop(
            self.repository, self._promise, size_bytes
        )

    def grow(self, size_bytes: int) -> bool:
        """Have room for ``size_bytes`` in all."""
        return size_bytes <= self._promise.size_bytes or self._keeper.grow(
            self.repository, self._promise, size_bytes
        )

    def release(self) -> None:
        """Note that nothing more of it will be written."""
        self._keeper.release(self._promise)


class LimitKeeper:
    """A SpaceKeeper; see the protocol."""

    def __init__(
        self,
        *,
        rules: RetentionRules,
        names: ImageNames,
        promises: Promises,
        measure: Measure,
        free: Free,
        observe: events.Observer,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Made on the event loop that decides, at the start."""
        self._rules = rules
        self._names = names
        self._promises = promises
        self._measure = measure
        self._free = free
        self._observe = observe
        self._clock = clock
        self._sleep = sleep
        self._patient_until = clock() + _OPENING_SECONDS
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._ahead: asyncio.Task[None] | None = None
        self._closing = False

    def reserve(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None
    ) -> SpaceReservation | None:
        """Make room for a blob; for threads."""
        return self._wait(self.reserve_on_loop(repository, digest, size_bytes), None)

    async def reserve_on_loop(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None
    ) -> SpaceReservation | None:
        """Make room on the event loop."""
        first = _STEP_BYTES if size_bytes is None else size_bytes
        return await self._reserve(repository, digest, first)

    async def has_room(self, size_bytes: int) -> bool:
        """Say whether so much could be kept now without evicting anything."""
        try:
            measured = await self._measure(more_bytes=size_bytes)
        except (MetadataError, StorageError):
            return False
        return measured.is_known and fits(measured.parts, measured.volume, self._rules, size_bytes)

    def grow(self, repository: RepositoryName, promise: Promise, size_bytes: int) -> bool:
        """Have room for more; for threads."""
        return self._wait(self.grow_on_loop(repository, promise, size_bytes), default=False)

    def release(self, promise: Promise) -> None:
        """Let what has arrived count as what is found in the store."""
        self._promises.close(promise)

    def note_full(self) -> None:
        """Evict soon: a write failed for want of space."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._start_when_full)

    async def settled(self) -> None:
        """Wait for an eviction that is under way."""
        if self._ahead is not None:
            await asyncio.gather(self._ahead, return_exceptions=True)

    async def aclose(self) -> None:
        """Agree to nothing more; wait for what is under way."""
        self._closing = True
        await self.settled()
        async with self._turn:
            pass

    async def _reserve(
        self, repository: RepositoryName, digest: Digest, size_bytes: int
    ) -> SpaceReservation | None:
        promise = Promise(digest, self._names.upstream(repository))
        # From now on a partial file of the same digest does not count beside it.
        self._promises.add(promise)
        refusal = await self._raise_to(repository, promise, size_bytes)
        if refusal is None:
            return SpaceReservation(self, repository, promise)
        self._promises.close(promise)
        self._report_not_kept(repository, digest, size_bytes, refusal)
        return None

    async def grow_on_loop(
        self, repository: RepositoryName, promise: Promise, size_bytes: int
    ) -> bool:
        """Have room for more."""
        more = max(size_bytes, promise.size_bytes + _STEP_BYTES)
        if await self._raise_to(repository, promise, more) is None:
            return True
        refusal = await self._raise_to(repository, promise, size_bytes)
        if refusal is not None:
            self._report_not_kept(repository, promise.digest, size_bytes, refusal)
        return refusal is None

    async def _raise_to(
        self, repository: RepositoryName, promise: Promise, size_bytes: int
    ) -> str | None:
        """Promise so much in all, evicting first if need be; or return why not."""
        more_bytes = size_bytes - promise.size_bytes
        async with self._turn:
            for _ in range(_ROUNDS):
                try:
                    measured = (await self._measure_patiently(more_bytes)).concerning(repository)
                    if self._closing:
                        return "the mirror is stopping"
                    if not measured.is_known:
                        return "it is not known how much is held"
                    if fits(measured.parts, measured.volume, self._rules, more_bytes):
                        self._promises.raise_to(promise, size_bytes)
                        self._look_ahead(measured)
                        return None
                    if not await self._make_room(measured, size_bytes, more_bytes):
                        break
                except (MetadataError, StorageError) as error:
                    _log.warning("no room can be made", extra={"fields": {"error": str(error)}})
                    break
        return "there is no room"

    async def _measure_patiently(self, more_bytes: int) -> Measured:
        """Measure; soon after the start, wait until the database is open."""
        while True:
            measured = await self._measure(more_bytes=more_bytes)
            if measured.is_known or self._closing or self._clock() > self._patient_until:
                return measured
            await self._sleep(_PAUSE_SECONDS)

    async def _make_room(self, measured: Measured, size_bytes: int, more_bytes: int) -> bool:
        parts, volume = measured.parts, measured.volume
        if not can_ever_fit(parts, volume, self._rules, size_bytes):
            return False
        return await self._free(wishes_for(parts, volume, self._rules, more_bytes), more_bytes)

    def _look_ahead(self, measured: Measured) -> None:
        wishes = wishes_ahead(measured.parts, measured.volume, self._rules)
        if wishes:
            self._start(lambda _: wishes)

    def _start_when_full(self) -> None:
        self._start(lambda measured: [wish_when_full(measured.volume, self._rules)])

    def _start(self, wishes: Callable[[Measured], Sequence[Wish]]) -> None:
        """Evict in the background, unless that is being done."""
        if not self._closing and (self._ahead is None or self._ahead.done()):
            self._ahead = self._loop.create_task(self._evict_ahead(wishes))

    async def _evict_ahead(self, wishes: Callable[[Measured], Sequence[Wish]]) -> None:
        try:
            measured = await self._measure()
            await self._free(wishes(measured), 0)
        except (MetadataError, StorageError) as error:
            _log.warning("nothing could be evicted", extra={"fields": {"error": str(error)}})

    def _report_not_kept(
        self, repository: RepositoryName, digest: Digest, size_bytes: int, refusal: str
    ) -> None:
        self._observe(events.NotKept(size_bytes))
        fields = {"repository": repository, "digest": str(digest), "bytes": size_bytes}
        _log.warning("%s: content is passed through", refusal, extra={"fields": fields})

    def _wait(self, work: Coroutine[Any, Any, Value], default: Value) -> Value:
        """Wait in a thread for what the event loop decides."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (CancelledError, RuntimeError):
            # The process is stopping.
            work.close()
            return default
