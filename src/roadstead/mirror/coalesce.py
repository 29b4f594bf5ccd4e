"""One piece of work per key at a time, shared by everybody who asks for it meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Coalescer(Generic[Key, Value]):
    """Runs work in tasks of its own, so that no caller's disconnect can cancel it."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Value]] = {}

    async def run(self, key: Key, work: Callable[[], Awaitable[Value]]) -> tuple[Value, bool]:
        """Return the work's value, and whether work that ran already was joined.

        An exception of the work is raised in every caller.
        """
        running = self._tasks.get(key)
        if running is not None:
            return await asyncio.shield(running), True

        async def start() -> Value:
            return await work()

        task = asyncio.get_running_loop().create_task(start())
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task), False

    async def aclose(self) -> None:
        """Cancel what runs and wait for its end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: Key, task: asyncio.Task[Value]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            # Looked at even if every caller has left, or asyncio reports it as never retrieved.
            task.exception()
