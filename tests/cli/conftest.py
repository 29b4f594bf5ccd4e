"""What commands are tried against."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from roadstead.simulator.registry import ScriptedRegistry


@pytest.fixture
def quiet() -> Iterator[None]:
    """Give the root logger back what a running mirror takes from it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    """Give a registry to mirror."""
    async with ScriptedRegistry() as registry:
        yield registry
