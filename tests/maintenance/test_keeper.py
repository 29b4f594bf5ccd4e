"""Whether there is room, before it is known how much is held."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roadstead.maintenance.keeper import LimitKeeper
from roadstead.maintenance.limits import Limits, MinFree, RetentionRules
from roadstead.maintenance.measure import Measure
from roadstead.maintenance.promises import Promises
from roadstead.metadata.database import MetadataDatabase
from roadstead.oci.digest import Digest
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry import events
from tests.maintenance.limited import NAMES
from tests.metadata.opened import opened
from tests.support.clock import Clock
from tests.support.rig import APP

DIGEST = Digest.of(b"a blob")


class _Opening:
    """A database that is opened while somebody waits for it, or never is."""

    def __init__(self, root: Path, database: MetadataDatabase, *, opens: bool) -> None:
        self._database = database
        self._is_open = False
        self._opens = opens
        self._clock = Clock()
        self.waited = 0
        promises = Promises()
        rules = RetentionRules(Limits(max_bytes=1000), min_free=MinFree(size_bytes=0))
        self.keeper = LimitKeeper(
            rules=rules,
            names=NAMES,
            promises=promises,
            measure=Measure(
                rules=rules,
                names=NAMES,
                store=FilesystemStore(root),
                metadata=lambda: self._database if self._is_open else None,
                promises=promises,
                observe=events.ignore,
            ),
            free=self._free,
            observe=events.ignore,
            clock=self._clock,
            sleep=self._sleep,
        )

    async def _free(self, _wishes: object, _size_bytes: int) -> bool:
        return False

    async def _sleep(self, _seconds: float) -> None:
        self.waited += 1
        self._clock.advance(1.0)
        self._is_open = self._opens


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[MetadataDatabase]:
    """Open an empty one."""
    async with opened(tmp_path) as database:
        yield database


async def test_what_arrives_before_the_database_is_open_is_kept(
    tmp_path: Path, database: MetadataDatabase
) -> None:
    """It waits for the moment that this takes."""
    opening = _Opening(tmp_path, database, opens=True)

    assert await opening.keeper.reserve_on_loop(APP, DIGEST, 600) is not None
    assert await opening.keeper.reserve_on_loop(APP, DIGEST, 600) is None
    assert opening.waited == 1
    await opening.keeper.aclose()


async def test_nobody_waits_long(
    tmp_path: Path, database: MetadataDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that is rebuilt for minutes keeps no client waiting, and the log says why."""
    opening = _Opening(tmp_path, database, opens=False)

    with caplog.at_level(logging.WARNING, "roadstead.retention"):
        for _ in range(2):
            assert await opening.keeper.reserve_on_loop(APP, DIGEST, 600) is None

    assert opening.waited == 6
    assert caplog.messages == ["it is not known how much is held: content is passed through"] * 2
    await opening.keeper.aclose()
