"""Small calls are repeated a few times, with growing and jittered pauses, then given up."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from roadstead.errors import UpstreamError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how patiently.

    The pause before attempt n is a random part of ``first_delay_seconds`` doubled n-2 times, at
    least half of it ("equal jitter"). ``jitter`` gives a number from 0 to 1.
    """

    attempts: int = 3
    first_delay_seconds: float = 0.25
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    async def run(self, call: Callable[[], Awaitable[Value]]) -> Value:
        """Call until it succeeds, fails for good, or the attempts are used up.

        Raises:
            UpstreamError: the last failure.
        """
        for attempt in range(self.attempts - 1):
            try:
                return await call()
            except UpstreamError as error:
                if not error.retryable or error.retry_after_seconds is not None:
                    raise
            delay = self.first_delay_seconds * 2.0**attempt
            await self.sleep(delay * (0.5 + self.jitter() / 2))
        return await call()
