"""Verifies in the background what is held, where the configuration says when."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run verifications by schedule; none without a schedule.

    Until the end of the context, or until what is yielded is called.
    """
    schedule = settings.verify.schedule
    if not schedule:
        yield _nothing
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

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        yield stop
    finally:
        await stop()


async def _nothing() -> None:
    """Stop what was never started."""
