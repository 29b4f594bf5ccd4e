"""An upstream and a client."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from roadstead.simulator.registry import ScriptedRegistry


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    """Give a registry."""
    async with ScriptedRegistry() as registry:
        yield registry


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Give an HTTP client."""
    async with ClientSession() as session:
        yield session
