"""Steering a volume directly, for when no mirror runs on it; safe if one does all the same."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from roadstead.config.schema import Settings
from roadstead.runtime.calls import retention_calls
from roadstead.runtime.retention import keep_space
from roadstead.runtime.volume import open_with_database, require_owner
from roadstead.server.calls import Call
from roadstead.telemetry import events

_PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def volume_calls(settings: Settings) -> AsyncIterator[Mapping[str, Call]]:
    """Give the calls of retention, by path, over the volume that the settings name.

    Raises:
        ConfigError: the upstreams contradict each other.
        MetadataError: the database cannot be opened or rebuilt.
        StorageUnavailableError: see ``require_owner``.
        OSError: the volume cannot be read.
    """
    root = Path(settings.storage.filesystem.rootdirectory)
    require_owner(root)
    async with open_with_database(root) as (store, database):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await database.flush()
        if not await database.is_whole():
            await database.rebuild(lambda _done: None)
        space = keep_space(
            settings, root=root, store=store, metadata=lambda: database, observe=events.ignore
        )
        yield retention_calls(space.steering)
