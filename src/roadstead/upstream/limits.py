"""A bound on the work for one upstream, so that its silence costs no other upstream anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from roadstead.errors import UpstreamUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimit:
    """How many small calls at once, and how long in seconds the next one waits for its turn.

    The wait should not exceed ``Timeouts.total``: by then each of the others has ended.
    """

    calls: int = 64
    wait_seconds: float = 60.0


class Turns:
    """Gives turns to calls on one event loop."""

    def __init__(self, limit: CallLimit, *, upstream: str) -> None:
        """``upstream`` is the host in messages."""
        self._limit = limit
        self._upstream = upstream
        self._free = asyncio.Semaphore(limit.calls)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the length of the context.

        Raises:
            UpstreamUnavailableError: none became free in time.
        """
        try:
            async with asyncio.timeout(self._limit.wait_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            message = f"{self._limit.calls} calls are waiting for it already"
            raise UpstreamUnavailableError(message, upstream=self._upstream) from error
        try:
            yield
        finally:
            self._free.release()
