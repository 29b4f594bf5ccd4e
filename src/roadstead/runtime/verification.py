"""Verifies in the background what is held, where the configuration says when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from roadstead.config.schema import Settings
from roadstead.mirror.mirrors import Mirrors
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.telemetry.events import Observer


@asynccontextmanager
async def verifying(
    settings: Settings, store: FilesystemStore, mirrors: Mirrors, observe: Observer
) -> AsyncIterator[None]:
    """Run verifications by schedule until the end of the context; none without a schedule."""
    schedule = settings.verify.schedule
    if not schedule:
        yield
        return
    # Not needed for the first answer.
    from roadstead.config.cron import next_time  # noqa: PLC0415
    from roadstead.maintenance.verification.background import BackgroundVerification  # noqa: PLC0415

    layout = Layout(Path(settings.storage.filesystem.rootdirectory))
    background = BackgroundVerification(
        store,
        state_file=layout.verification,
        bytes_per_second=settings.verify.rate or None,
        next_time=partial(next_time, schedule),
        heal=mirrors.fetch_again,
        observe=observe,
    )
    task = asyncio.create_task(background.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
