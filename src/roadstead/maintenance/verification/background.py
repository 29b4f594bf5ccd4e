"""Verifies everything from time to time, slowly, while the mirror serves."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from roadstead.errors import RoadsteadError, StorageBusyError, StorageError
from roadstead.maintenance.verification.hashing import Pace, StoppedError
from roadstead.maintenance.verification.position import Position, read_position, write_position
from roadstead.maintenance.verification.verifier import DamagedData, VerifiableStore, Verifier
from roadstead.oci.digest import Digest
from roadstead.storage.base import Linker
from roadstead.telemetry import events

_log = logging.getLogger("roadstead.verification")

QUARANTINE_BYTES: Final = 1024**3
QUARANTINE_SECONDS: Final = 30 * 86400.0
"""What quarantine keeps, so that it can be looked at; the rest goes, oldest first."""
_SAVE_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 600.0
_BUSY_SECONDS: Final = 5.0
_HEALS_AT_ONE_TIME: Final = 2
_LOGGED_LINKS: Final = 20

Heal = Callable[[Linker], Awaitable[None]]
"""Fetches what a repository links to again; raises RoadsteadError."""


class BackgroundVerification:
    """Runs verifications by schedule; one that a stop has cut short goes on after the start."""

    def __init__(
        self,
        store: VerifiableStore,
        *,
        state_file: Path,
        bytes_per_second: float | None,
        next_time: Callable[[float], float],
        heal: Heal,
        observe: events.Observer,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``next_time`` gives the next time behind one; ``observe`` is called from any thread."""
        self._store = store
        self._state_file = state_file
        self._rate = bytes_per_second
        self._next_time = next_time
        self._heal = heal
        self._observe = observe
        self._clock = clock
        self._sleep = sleep
        self._stopping = threading.Event()
        self._heals = asyncio.Semaphore(_HEALS_AT_ONE_TIME)
        self._healing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            position = await asyncio.to_thread(self._position)
            if position.completed_at is not None:
                self._observe(events.VerificationEnded(position.completed_at))
            if position.started_at is not None:
                await self.verify()
            while True:
                now = self._clock()
                await self._sleep(max(0.0, self._next_time(now) - now))
                await self.verify()
        except asyncio.CancelledError:
            await self._stop()
            raise

    async def verify(self) -> None:
        """Verify everything, or what is left of it; a store in trouble is tried again later.

        Only one does it at a time: the next waits, goes on where that one stopped, and does
        nothing if it came to the end.
        """
        loop = asyncio.get_running_loop()
        due = self._clock()
        while True:
            work = asyncio.create_task(asyncio.to_thread(self._verify_alone, due, loop))
            try:
                # The thread ends when it is told to, and not before.
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._stopping.set()
                with suppress(StoppedError, RoadsteadError, OSError):
                    await work
                raise
            except StorageBusyError:
                await self._sleep(_BUSY_SECONDS)
            except (StorageError, OSError) as error:
                _log.error("verification has to wait", extra={"fields": {"error": str(error)}})
                await self._sleep(_RETRY_SECONDS)
            else:
                return

    async def healed(self) -> None:
        """Wait until nothing is being fetched again."""
        await asyncio.gather(*self._healing)

    async def _stop(self) -> None:
        for task in self._healing:
            task.cancel()
        await asyncio.gather(*self._healing, return_exceptions=True)

    def _position(self) -> Position:
        with suppress(StorageError):
            return read_position(self._state_file)
        return Position()

    def _verify_alone(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        with self._store.verifying():
            position = self._position()
            if position.started_at is not None or (position.completed_at or 0.0) <= due:
                self._verify(position, loop)

    def _verify(self, position: Position, loop: asyncio.AbstractEventLoop) -> None:
        if position.started_at is None:
            position = replace(
                position, started_at=self._clock(), after=None, blobs=0, size_bytes=0, damaged=0
            )
        pace = Pace(bytes_per_second=self._rate, stopping=self._stopping)
        verifier = Verifier(self._store, pace=pace, observe=self._observe)
        position = self._verify_data(verifier, position, loop)
        broken = self._look_at_links(verifier)
        now = self._clock()
        write_position(
            self._state_file,
            Position(
                completed_at=now,
                completed_blobs=position.blobs,
                completed_bytes=position.size_bytes,
                completed_damaged=position.damaged,
                completed_broken_links=broken,
            ),
        )
        self._store.bound_quarantine(
            max_bytes=QUARANTINE_BYTES, max_age_seconds=QUARANTINE_SECONDS, now=now
        )
        self._observe(events.VerificationEnded(now))
        _log.info(
            "verified %d blobs, %d bytes: %d damaged, %d links lead nowhere",
            position.blobs,
            position.size_bytes,
            position.damaged,
            broken,
        )

    def _verify_data(
        self, verifier: Verifier, position: Position, loop: asyncio.AbstractEventLoop
    ) -> Position:
        write_position(self._state_file, position)
        saved = time.monotonic()
        waiting: list[Digest] = []
        try:
            for held in self._store.walk.data(position.after_digest):
                found = verifier.check(held)
                position = replace(
                    position,
                    after=str(held.digest),
                    blobs=position.blobs + 1,
                    size_bytes=position.size_bytes + held.size_bytes,
                    damaged=position.damaged + (found is not None),
                )
                if found is not None:
                    _report(found)
                    if found.quarantined:
                        waiting.append(found.digest)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    saved = time.monotonic()
                    write_position(self._state_file, position)
                    self._fetch_again(waiting, loop)
                    waiting = []
        finally:
            # Also when it is stopped, or the store fails: what was done need not be done again.
            with suppress(StorageError):
                write_position(self._state_file, position)
        self._fetch_again(waiting, loop)
        return position

    def _look_at_links(self, verifier: Verifier) -> int:
        count = 0
        for link in verifier.links(lambda _repository: True):
            count += 1
            if count <= _LOGGED_LINKS:
                _log.warning("%s: %s %s: %s", link.repository, link.what, link.name, link.breach)
        if count > _LOGGED_LINKS:
            _log.warning("%d links lead nowhere; roadstead verify names them all", count)
        return count

    def _fetch_again(self, digests: Sequence[Digest], loop: asyncio.AbstractEventLoop) -> None:
        """See to it that what is in quarantine is fetched again, for somebody who links to it."""
        if not digests:
            return
        linkers: dict[Digest, list[Linker]] = {}
        for linker in self._store.walk.linkers(digests):
            linkers.setdefault(linker.digest, []).append(linker)
        for found in linkers.values():
            loop.call_soon_threadsafe(self._begin_to_heal, found)

    def _begin_to_heal(self, linkers: Sequence[Linker]) -> None:
        task = asyncio.create_task(self._heal_one(linkers))
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)

    async def _heal_one(self, linkers: Sequence[Linker]) -> None:
        """Fetch data for the first repository whose upstream gives it: it is then there for all."""
        failure = None
        async with self._heals:
            for linker in linkers:
                try:
                    await self._heal(linker)
                except RoadsteadError as error:
                    failure = error
                else:
                    failure = None
                    break
        self._observe(events.Healed(type(failure).__name__ if failure is not None else None))
        fields = {"digest": str(linkers[0].digest)}
        if failure is None:
            _log.info("damaged data was fetched again", extra={"fields": fields})
            return
        fields["error"] = str(failure)
        _log.warning("damaged data is fetched again by the next request", extra={"fields": fields})


def _report(found: DamagedData) -> None:
    _log.error(
        "held data is damaged",
        extra={
            "fields": {
                "digest": str(found.digest),
                "damage": found.damage,
                "size": found.size_bytes,
                "quarantined": found.quarantined,
            }
        },
    )
