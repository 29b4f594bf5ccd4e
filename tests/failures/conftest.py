"""A mirror that is served, and clients that notice how a body ends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.support.rig import Rig, make_rig, serving


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a served mirror with a store in a temporary folder."""
    async with make_rig(tmp_path) as made, serving(made):
        yield made


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """Give a client that undoes nothing."""
    async with ClientSession(auto_decompress=False) as session:
        yield session
