"""An upstream that says what it is told to, in a thread of the harness."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from roadstead.simulator.registry import ScriptedRegistry


@contextmanager
def scripted_upstream() -> Iterator[ScriptedRegistry]:
    """Serve an upstream on loopback; its faults may be changed while it is asked."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream", daemon=True)
    thread.start()
    try:
        registry = asyncio.run_coroutine_threadsafe(_started(), loop).result()
        try:
            yield registry
        finally:
            asyncio.run_coroutine_threadsafe(registry.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _started() -> ScriptedRegistry:
    registry = ScriptedRegistry()
    await registry.start()
    return registry
