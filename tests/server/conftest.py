"""A mirror that is served on a loopback port, and a client for it."""

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
async def client(rig: Rig) -> AsyncIterator[ClientSession]:
    """Give an HTTP client whose base is the mirror."""
    async with ClientSession(rig.url, auto_decompress=False) as session:
        yield session
