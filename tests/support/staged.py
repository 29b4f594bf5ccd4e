"""A simulated registry in a thread of the test, for tests that are not asynchronous."""

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from roadstead.simulator.manners import MANNERS, open_stage
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.simulator.stage import Stage
from tests.support.images import Image

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ThreadedStage:
    """Hosts that run on the event loop of another thread."""

    stage: Stage
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something on that loop to its end."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result(_SECONDS)


@contextmanager
def start_stage(name: str, *, limit: int | None = None) -> Iterator[ThreadedStage]:
    """Start a registry with the manners of that name."""
    started: queue.Queue[tuple[ThreadedStage, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        async with open_stage(MANNERS[name], limit=limit) as stage:
            over = asyncio.Event()
            started.put((ThreadedStage(stage, asyncio.get_running_loop()), over))
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    running, over = started.get(timeout=_SECONDS)
    try:
        yield running
    finally:
        running.loop.call_soon_threadsafe(over.set)
        thread.join()


def shelve(registry: ScriptedRegistry, repository: str, image: Image) -> None:
    """Put a real image, all platforms of it, on the shelf of a registry."""

    def read(digest: Digest) -> bytes:
        return (image.layout / f"blobs/{digest.algorithm}/{digest.encoded}").read_bytes()

    for platform in image.platforms.values():
        for digest in platform.blobs:
            registry.add_blob(repository, read(digest))
        registry.add_manifest(repository, read(platform.manifest), OCI_MANIFEST)
    registry.add_manifest(repository, read(image.index), OCI_INDEX, tag=image.tag)
