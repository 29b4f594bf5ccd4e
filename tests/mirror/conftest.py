"""A mirror over a scripted upstream, for each test a new one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rig import Rig, make_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a mirror with a store in a temporary folder."""
    async with make_rig(tmp_path) as made:
        yield made
