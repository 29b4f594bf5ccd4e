"""What each upstream's clients got per hour: counted from events, until the writer takes it."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from roadstead.metadata.records import Totals
from roadstead.telemetry import events
from roadstead.telemetry.events import Event

_HOUR_SECONDS: Final = 3600
_MOST: Final = 10_000
"""Sums that may wait while the database is away; what comes on top is not counted."""


class HourlyTotals:
    """An observer, and a buffer of sums per hour and upstream since the last flush."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives seconds since the epoch."""
        self._clock = clock
        self._lock = Lock()
        self._sums: dict[tuple[int, str], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def __call__(self, event: Event) -> None:
        """Count ``event``, if it is one to count."""
        # Most events are none of its business, and come with every request.
        match event:
            case events.Repeated():
                self._add(event.upstream, 1, 1, event.sent_bytes, 0)
            case events.Served():
                self._add(event.upstream, 1, int(event.outcome.is_hit), event.sent_bytes, 0)
            case events.Fetched():
                self._add(event.upstream, 0, 0, 0, event.size_bytes)
            case _:
                pass

    def take(self) -> list[Totals]:
        """Return the sums and begin anew."""
        with self._lock:
            taken, self._sums = self._sums, {}
        return [Totals(hour, upstream, *sums) for (hour, upstream), sums in taken.items()]

    def put_back(self, taken: list[Totals]) -> None:
        """Add again what could not be written."""
        for one in taken:
            key = (one.hour, one.upstream)
            self._add_to(key, one.requests, one.hits, one.served_bytes, one.fetched_bytes)

    def _add(self, upstream: str, requests: int, hits: int, served: int, fetched: int) -> None:
        hour = int(self._clock()) // _HOUR_SECONDS * _HOUR_SECONDS
        self._add_to((hour, upstream), requests, hits, served, fetched)

    def _add_to(
        self, key: tuple[int, str], requests: int, hits: int, served: int, fetched: int
    ) -> None:
        with self._lock:
            sums = self._sums.get(key)
            if sums is None:
                if len(self._sums) >= _MOST:
                    return
                sums = self._sums[key] = [0, 0, 0, 0]
            sums[0] += requests
            sums[1] += hits
            sums[2] += served
            sums[3] += fetched
