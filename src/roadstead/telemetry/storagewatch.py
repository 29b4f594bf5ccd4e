"""Whether the store takes writes, told once for each time of trouble and not for each write."""

import logging
from collections.abc import Awaitable, Callable

from roadstead.telemetry import events
from roadstead.telemetry.events import Event, Observer

_log = logging.getLogger("roadstead.storage")

_READ = "read"


class StorageWatch:
    """An observer of StorageFailed, and the probe of the health check ``storage``.

    Trouble begins with the first write that fails and ends with a trial write that succeeds.
    Trouble with reading ends with the next look that finds the root in its place; it concerns
    single files, so it does not count as trouble of the whole store.
    """

    def __init__(self, *, observe: Observer) -> None:
        """``observe`` hears when trouble with writing begins and ends."""
        self._observe = observe
        self._failures = 0
        self._is_reading_told = False

    def __call__(self, event: Event) -> None:
        """Take note; on the event loop."""
        if not isinstance(event, events.StorageFailed):
            return
        fields = {"operation": event.operation, "error": event.error}
        if event.operation == _READ:
            if not self._is_reading_told:
                self._is_reading_told = True
                _log.error("the store cannot be read in parts", extra={"fields": fields})
            return
        self._failures += 1
        if self._failures == 1:
            text = "the store cannot be written: blobs are passed on from upstream, and not kept"
            _log.error(text, extra={"fields": fields})
            self._observe(events.StorageStands(writable=False))

    async def probe(self, try_writing: Callable[[], Awaitable[None]]) -> None:
        """Find out whether trouble is over; nothing is written while there is none.

        Raises:
            StorageError: it is not.
        """
        self._is_reading_told = False
        if not self._failures:
            return
        await try_writing()
        failures, self._failures = self._failures, 0
        _log.warning("the store can be written again", extra={"fields": {"failures": failures}})
        self._observe(events.StorageStands(writable=True))
