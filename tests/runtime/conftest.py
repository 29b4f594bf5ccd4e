"""An upstream, a client, and the logging of the test run put back afterwards."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession

from roadstead.simulator.registry import ScriptedRegistry


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    """Undo that a started mirror takes over the logging of its process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


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
