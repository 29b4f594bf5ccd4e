"""A scripted registry, and upstreams that speak to it without waiting."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.retry import Retries
from roadstead.upstream.timeouts import Timeouts

# Long enough for loopback on a busy machine, short enough for the tests that run into them.
SHORT = Timeouts(connect=1, first_byte=1, stall=0.3, total=5)


class Pauses:
    """A sleep that only remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Do not sleep."""
        self.seconds.append(seconds)


def connect(url: str, **options: Any) -> RegistryUpstream:  # noqa: ANN401 - passed on as given
    """Make an upstream with short time-outs and no pauses."""
    retries = Retries(sleep=Pauses(), jitter=lambda: 0.5)
    return RegistryUpstream(url, **{"timeouts": SHORT, "retries": retries, **options})


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    """Provide a registry that serves."""
    async with ScriptedRegistry() as running:
        yield running


@pytest_asyncio.fixture
async def elsewhere() -> AsyncIterator[ScriptedRegistry]:
    """Provide another host: storage, a foreign token server, a web site."""
    async with ScriptedRegistry() as running:
        yield running


@pytest_asyncio.fixture
async def upstream(registry: ScriptedRegistry) -> AsyncIterator[RegistryUpstream]:
    """Provide an anonymous upstream over the registry."""
    async with connect(registry.url) as running:
        yield running
