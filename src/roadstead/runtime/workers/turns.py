"""Turns at upstream: of all workers only one at a time asks for the same manifest."""

import asyncio
from collections import Counter


class Turns:
    """Locks by name, each held by one worker; on the keeper's event loop."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()
        self._held: dict[int, list[str]] = {}

    async def take(self, name: str, worker: int) -> None:
        """Wait until nobody else has the turn, and have it."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._users[name] += 1
        try:
            await lock.acquire()
        except BaseException:
            self._leave(name)
            raise
        self._held.setdefault(worker, []).append(name)

    def give_back(self, name: str, worker: int) -> None:
        """Let the next one have it; what is not held is none of its business."""
        held = self._held.get(worker, [])
        if name in held:
            held.remove(name)
            self._locks[name].release()
            self._leave(name)

    def forget(self, worker: int) -> None:
        """Take all turns from a worker that ended."""
        for name in list(self._held.get(worker, [])):
            self.give_back(name, worker)
        self._held.pop(worker, None)

    def _leave(self, name: str) -> None:
        self._users[name] -= 1
        if not self._users[name]:
            del self._users[name], self._locks[name]
