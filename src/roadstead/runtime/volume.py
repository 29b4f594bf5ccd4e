"""The volume alone, for commands that work on it beside a running mirror or without one."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from roadstead.config.schema import Settings
from roadstead.errors import StorageUnavailableError
from roadstead.maintenance.layouts.names import ImageNamer
from roadstead.mirror.routing import Router
from roadstead.runtime.plan import PlannedUpstream, default_name, plan_upstreams
from roadstead.storage.filesystem import FilesystemStore


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
        _require_owner(root)
    planned = plan_upstreams(settings)
    router = Router([one.rules for one in planned], default=default_name(settings))
    registries = {one.name: _registry_host(one) for one in planned}
    yield Volume(FilesystemStore(root), ImageNamer(router, registries))


def _registry_host(planned: PlannedUpstream) -> str:
    """Return what the registry is called everywhere; a name without a dot is only known here."""
    is_host = "." in planned.name or ":" in planned.name
    return planned.name if is_host else urlsplit(planned.url).netloc


def _require_owner(root: Path) -> None:
    try:
        owner = root.stat().st_uid
    except FileNotFoundError:
        return
    if os.geteuid() == 0 and owner != 0:
        message = f"{root} belongs to user {owner}; run this as that user, with sudo -u '#{owner}'"
        raise StorageUnavailableError(message)
