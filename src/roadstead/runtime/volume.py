"""The volume alone, for commands that work on it beside a running mirror or without one."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from roadstead.config.schema import Settings
from roadstead.errors import StorageUnavailableError
from roadstead.maintenance.layouts.names import ImageNamer
from roadstead.mirror.routing import Router
from roadstead.runtime.metadata import RecordedLinks
from roadstead.runtime.plan import PlannedUpstream, default_name, plan_upstreams
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.survey import Survey

if TYPE_CHECKING:
    from roadstead.metadata.database import MetadataDatabase


@dataclass(frozen=True, slots=True)
class Volume:
    """A store, and what names mean in it."""

    store: FilesystemStore
    namer: ImageNamer


@asynccontextmanager
async def open_volume(settings: Settings, *, writes: bool) -> AsyncIterator[Volume]:
    """Open the volume that the settings name.

    Raises:
        ConfigError: an upstream has the default one's name.
        StorageUnavailableError: what root wrote there could not be changed by who serves it.
    """
    root = Path(settings.storage.filesystem.rootdirectory)
    if writes:
        require_owner(root)
    planned = plan_upstreams(settings)
    router = Router([one.rules for one in planned], default=default_name(settings))
    registries = {one.name: _registry_host(one) for one in planned}
    namer = ImageNamer(router, registries)
    if not writes:
        yield Volume(FilesystemStore(root), namer)
        return
    async with recorded_store(root) as store:
        yield Volume(store, namer)


@asynccontextmanager
async def recorded_store(root: Path) -> AsyncIterator[FilesystemStore]:
    """Open a store whose links and removals the metadata database hears of, if there is one.

    Where there is none, or it cannot be opened, it is rebuilt by the next mirror that starts.
    """
    if not Layout(root).metadata.exists():
        yield FilesystemStore(root)
        return
    async with open_with_database(root) as (store, _database):
        yield store


@asynccontextmanager
async def open_with_database(
    root: Path,
) -> AsyncIterator[tuple[FilesystemStore, "MetadataDatabase"]]:
    """Open a store and its database, which hears of links and removals and is made if missing."""
    from roadstead.metadata.database import MetadataDatabase  # noqa: PLC0415 - slow to import

    database = MetadataDatabase(Layout(root).metadata, Survey(root))
    links = RecordedLinks(database)
    store = FilesystemStore(root, notes=links)
    store.on_removal(links.removed)
    database.start(rebuilding=False)
    try:
        yield store, database
    finally:
        await database.aclose()


def _registry_host(planned: PlannedUpstream) -> str:
    """Return what the registry is called everywhere; a name without a dot is only known here."""
    is_host = "." in planned.name or ":" in planned.name
    return planned.name if is_host else urlsplit(planned.url).netloc


def require_owner(root: Path) -> None:
    """Check that what is written to the volume belongs to whom the volume belongs to.

    Raises:
        StorageUnavailableError: it would belong to root, and be out of the server's reach.
    """
    try:
        owner = root.stat().st_uid
    except FileNotFoundError:
        return
    if os.geteuid() == 0 and owner != 0:
        message = f"{root} belongs to user {owner}; run this as that user, with sudo -u '#{owner}'"
        raise StorageUnavailableError(message)
