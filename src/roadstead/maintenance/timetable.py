"""When retention runs by itself: by schedule, for ``proxy.ttl``, and to watch the disk."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from roadstead.errors import MetadataError, StorageError
from roadstead.maintenance.limits import RetentionRules
from roadstead.telemetry.events import EvictionReason

_log = logging.getLogger("roadstead.retention")

_TICK_SECONDS: Final = 30.0
_FIRST_SECONDS: Final = 1.0
"""Until the database is open."""
_SHORTEST_TTL_CHECK_SECONDS: Final = 1.0
_LONGEST_TTL_CHECK_SECONDS: Final = 3600.0
_TTL_PARTS: Final = 20

NextTime = Callable[[float], float]
"""The next time behind one; both in seconds since the epoch."""


class Runs(Protocol):
    """Does what the limits ask for: a part of ``Retention``."""

    async def run(self, trigger: str, *, only: EvictionReason | None = None) -> object:
        """Run; of all that is asked for, ``only`` what has one reason."""

    async def look_again(self) -> None:
        """Find out whether a limit that could not hold can now."""


def hourly(after: float) -> float:
    """Return the next full hour: when to look for what is too old if nobody says when."""
    return (after // 3600 + 1) * 3600


class Timetable:
    """Runs retention when it is time; ``tick`` is what is done at one moment."""

    def __init__(
        self,
        *,
        rules: RetentionRules,
        retention: Runs,
        measure: Callable[[], Awaitable[object]],
        next_time: NextTime | None,
        first: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``next_time`` tells when all limits are looked at; None: only for what arrives.

        ``first`` is done once, before anything else.
        """
        self._retention = retention
        self._measure = measure
        self._first = first
        self._next_time = next_time
        self._clock = clock
        self._sleep = sleep
        self._ttl_check_seconds = _ttl_check_seconds(rules)
        self._pause_seconds = min(_TICK_SECONDS, self._ttl_check_seconds or _TICK_SECONDS)
        self._watches = rules.watches_free_space
        now = clock()
        self._run_at = next_time(now) if next_time is not None else None
        self._ttl_at = now

    @property
    def next_run(self) -> float | None:
        """When all limits are looked at next, in seconds since the epoch."""
        return self._run_at

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self.tick()
            await self._sleep(_FIRST_SECONDS if self._first is not None else self._pause_seconds)

    async def tick(self) -> None:
        """Do what is due; a store or a database in trouble is tried again with the next tick."""
        now = self._clock()
        try:
            if self._first is not None:
                await self._first()
                self._first = None
            if self._next_time is not None and self._run_at is not None and now >= self._run_at:
                await self._retention.run("schedule")
                self._run_at = self._next_time(now)
                return
            if self._ttl_check_seconds is not None and now >= self._ttl_at:
                await self._retention.run("ttl", only=EvictionReason.TTL)
                self._ttl_at = now + self._ttl_check_seconds
            if self._watches:
                await self._retention.run("watch", only=EvictionReason.MINFREE)
            await self._measure()
            await self._retention.look_again()
        except MetadataError as error:
            # It is being opened or rebuilt, or in trouble, which it says itself.
            _log.debug("retention has to wait", extra={"fields": {"error": str(error)}})
        except StorageError as error:
            _log.warning("retention has to wait", extra={"fields": {"error": str(error)}})


def _ttl_check_seconds(rules: RetentionRules) -> float | None:
    if not rules.ttl_seconds:
        return None
    share = rules.ttl_seconds / _TTL_PARTS
    return min(max(share, _SHORTEST_TTL_CHECK_SECONDS), _LONGEST_TTL_CHECK_SECONDS)
