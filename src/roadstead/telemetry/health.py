"""Whether this process is fit to serve, by checks that poll on timers of their own.

The rules are distribution's (facts: registry, section 5.2): a check starts as healthy and is
first made after one interval; it is unhealthy once it failed ``threshold`` times in a row; one
success makes it healthy again. The state of upstreams is no part of it, unless somebody
configures a check of one: a mirror that serves what it holds is healthy.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from roadstead.telemetry.redaction import redact

_log = logging.getLogger("roadstead.health")

Probe: TypeAlias = Callable[[], Awaitable[None]]
"""Looks once and raises if something is wrong; the text of the error is shown to operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at."""

    name: str
    """Key in ``/debug/health``: ``storagedriver_filesystem``, a path, a URI, an address."""
    probe: Probe
    interval_seconds: float = 10
    threshold: int = 1
    """Failures in a row that make it unhealthy; 0 means the same as 1."""
    timeout_seconds: float = 10
    """A probe that takes longer has failed; it is left to end before the next one starts."""
    is_vital: bool = True
    """Whether a failure takes the mirror out of service; else it is only told."""


class HealthMonitor:
    """Runs checks from ``start`` to ``aclose`` and tells what is wrong now."""

    def __init__(
        self,
        checks: Sequence[Check],
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Wait between probes with ``sleep``, which gets seconds."""
        self._checks = checks
        self._sleep = sleep
        self._failing: dict[str, str] = {}
        self._minor = {redact(check.name) for check in checks if not check.is_vital}
        self._polls: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to poll; needs a running loop."""
        self._polls = [asyncio.create_task(self._poll(check)) for check in self._checks]

    async def aclose(self) -> None:
        """Stop to poll and forget nothing of what is known. Idempotent."""
        polls, self._polls = self._polls, []
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    def status(self) -> dict[str, str]:
        """Return the error text of each unhealthy check by name; empty when all is well."""
        return dict(self._failing)

    def is_healthy(self) -> bool:
        """Say whether no vital check is failing; asked once per request."""
        return not self._failing or self._failing.keys() <= self._minor

    async def _poll(self, check: Check) -> None:
        failures = 0
        name = redact(check.name)
        running: asyncio.Task[None] | None = None
        try:
            while True:
                await self._sleep(check.interval_seconds)
                running = running or asyncio.create_task(_run(check.probe))
                problem = await _outcome(running, check.timeout_seconds)
                if running.done():
                    running = None
                failures = 0 if problem is None else failures + 1
                if problem is None:
                    self._mend(name)
                elif failures >= check.threshold:
                    self._fail(name, problem)
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def _mend(self, name: str) -> None:
        if self._failing.pop(name, None) is not None:
            _log.info("health check is well again", extra={"fields": {"check": name}})

    def _fail(self, name: str, problem: str) -> None:
        if name not in self._failing:
            fields = {"check": name, "error": problem}
            _log.error("health check failed", extra={"fields": fields})
        self._failing[name] = problem


@asynccontextmanager
async def monitoring(checks: Sequence[Check]) -> AsyncIterator[HealthMonitor]:
    """Poll until the end of the context."""
    monitor = HealthMonitor(checks)
    monitor.start()
    try:
        yield monitor
    finally:
        await monitor.aclose()


async def _run(probe: Probe) -> None:
    await probe()


async def _outcome(probe: asyncio.Task[None], timeout_seconds: float) -> str | None:
    await asyncio.wait({probe}, timeout=timeout_seconds)
    if not probe.done():
        return f"no answer within {timeout_seconds:g} s"
    if probe.cancelled():
        return "check was cancelled"
    error = probe.exception()
    if error is None:
        return None
    return redact(str(error)) or type(error).__name__
