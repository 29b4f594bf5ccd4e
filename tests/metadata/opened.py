"""Databases and stores for tests: opened, filled and waited for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from roadstead.metadata.database import MetadataDatabase
from roadstead.metadata.records import Condition
from roadstead.runtime.metadata import RecordedLinks
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.survey import Survey
from roadstead.telemetry import events


def database_of(root: Path, observe: events.Observer = events.ignore) -> MetadataDatabase:
    """Return the database of a volume, not started."""
    return MetadataDatabase(
        Layout(root).metadata, Survey(root), observe=observe, flush_seconds=0.05
    )


@asynccontextmanager
async def opened(
    root: Path, *, observe: events.Observer = events.ignore, rebuilding: bool = True
) -> AsyncIterator[MetadataDatabase]:
    """Open the database of a volume, wait until it is whole (if it may be rebuilt), close it."""
    database = database_of(root, observe)
    database.start(rebuilding=rebuilding)
    try:
        if rebuilding:
            await whole(database)
        yield database
    finally:
        await database.aclose()


async def whole(database: MetadataDatabase) -> None:
    """Wait until the database is whole, and knows it."""

    async def is_so() -> bool:
        return await database.is_whole() and database.condition() is Condition.WHOLE

    await until(is_so)


async def until(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait, up to 20 seconds, until another thread has made something so."""
    async with asyncio.timeout(20):
        while True:
            answer = is_so()
            if answer is True or (not isinstance(answer, bool) and await answer):
                return
            # Other threads and processes tell nobody here.
            await asyncio.sleep(0.005)


def store_of(root: Path, database: MetadataDatabase | None = None) -> FilesystemStore:
    """Return a store that records its links in ``database``, if there is one."""
    if database is None:
        return FilesystemStore(root)
    links = RecordedLinks(database)
    store = FilesystemStore(root, notes=links)
    store.on_removal(links.removed)
    return store
