"""Keeps the mirrors' memory in step with what is removed from the store, by whom ever."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from roadstead.errors import StorageError
from roadstead.mirror.mirrors import Mirrors
from roadstead.storage.base import RemovalStore, Removed

_log = logging.getLogger("roadstead.runtime")

_INTERVAL_SECONDS = 1.0


@asynccontextmanager
async def following_removals(
    store: RemovalStore,
    mirrors: Mirrors,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Let ``mirrors`` forget what this process removes at once, and what others do soon."""
    loop = asyncio.get_running_loop()

    def tell(_at: float, removed: Sequence[Removed]) -> None:
        loop.call_soon_threadsafe(mirrors.forget, removed)

    async def look() -> None:
        while True:
            await sleep(_INTERVAL_SECONDS)
            try:
                if store.others_have_removed():
                    mirrors.forget_all()
            except StorageError as error:
                # The health check says the same, for longer.
                _log.debug("%s", error)

    store.on_removal(tell)
    watch = asyncio.create_task(look())
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
