"""What is told of the store, with limits and without."""

from pathlib import Path

import pytest

from roadstead.maintenance.limits import Limits, RetentionRules
from roadstead.maintenance.measure import Measure
from roadstead.maintenance.promises import Promises
from roadstead.oci.digest import Digest
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.events import DiskMeasured, Event, SpaceMeasured
from tests.maintenance.limited import NAMES
from tests.metadata.opened import opened, until


@pytest.mark.parametrize("limit", [None, 1000])
async def test_what_is_held_is_told(tmp_path: Path, limit: int | None) -> None:
    """Also where no limit asks for it, with the disk, which always is."""
    told: list[Event] = []
    async with opened(tmp_path) as database:
        await until(database.is_whole)
        database.record_data(Digest.of(b"x"), 70, 0.0).result()
        measure = Measure(
            rules=RetentionRules(Limits(max_bytes=limit)),
            names=NAMES,
            store=FilesystemStore(tmp_path),
            metadata=lambda: database,
            promises=Promises(),
            observe=told.append,
        )
        await measure.tell()

    assert [one for one in told if isinstance(one, SpaceMeasured)] == [SpaceMeasured("", 70, limit)]
    assert sum(isinstance(one, DiskMeasured) for one in told) == 1


async def test_without_a_database_only_the_disk_is_told(tmp_path: Path) -> None:
    """It is being opened; nobody knows yet how much is held."""
    told: list[Event] = []
    measure = Measure(
        rules=RetentionRules(),
        names=NAMES,
        store=FilesystemStore(tmp_path),
        metadata=lambda: None,
        promises=Promises(),
        observe=told.append,
    )

    await measure.tell()

    assert [type(one) for one in told] == [DiskMeasured]
