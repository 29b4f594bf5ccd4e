"""Trouble with the disk, told once."""

import pytest

from roadstead.errors import StorageFullError
from roadstead.telemetry.events import Event, PassedOn, StorageFailed, StorageStands
from roadstead.telemetry.storagewatch import StorageWatch

WRITE = StorageFailed("write", "ENOSPC")


class Trials:
    """Trial writes that fail while ``is_full``."""

    def __init__(self) -> None:
        self.is_full = True
        self.count = 0

    async def __call__(self) -> None:
        """Write."""
        self.count += 1
        if self.is_full:
            raise StorageFullError


async def test_an_episode_is_one_line_at_its_beginning_and_one_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However many writes fail; a trial write that succeeds ends it, and the next begins anew."""
    told: list[Event] = []
    watch, trials = StorageWatch(observe=told.append), Trials()
    for _ in range(100):
        watch(WRITE)
    with pytest.raises(StorageFullError):
        await watch.probe(trials)
    trials.is_full = False
    await watch.probe(trials)
    watch(WRITE)

    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the store cannot be written",
        "the store can be written again",
        "the store cannot be written",
    ]
    assert told == [StorageStands(writable=writable) for writable in (False, True, False)]


async def test_nothing_is_written_while_all_is_well() -> None:
    """The check costs a healthy store nothing; a file that cannot be read is no reason to write."""
    told: list[Event] = []
    watch, trials = StorageWatch(observe=told.append), Trials()
    watch(PassedOn())
    watch(StorageFailed("read", "EIO"))

    await watch.probe(trials)

    assert (trials.count, told) == (0, [])


async def test_files_that_cannot_be_read_are_told_once_between_two_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A disk that dies does not fill the log too."""
    watch = StorageWatch(observe=lambda _event: None)
    for _ in range(10):
        watch(StorageFailed("read", "EIO"))
    await watch.probe(Trials())
    watch(StorageFailed("read", "EIO"))

    assert len(caplog.records) == 2
