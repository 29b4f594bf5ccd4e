"""Nothing is removed between the look at data and the link to it."""

import errno
import os
import threading
from collections.abc import Callable
from io import FileIO
from itertools import count
from pathlib import Path

import pytest

from roadstead.errors import StorageFullError, StorageUnavailableError
from roadstead.oci.digest import Digest
from roadstead.storage.barrier import Barrier
from roadstead.storage.epoch import RemovalEpoch
from tests.support.volumes import put

ONE, OTHER, THIRD = (Digest.of(content) for content in (b"1", b"2", b"3"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Name a store's own directory, which the first lock makes."""
    return tmp_path / "volume/roadstead"


def _barrier(directory: Path) -> Barrier:
    return Barrier(directory, epoch=RemovalEpoch(directory))


def _impatient(directory: Path) -> Barrier:
    """Make a barrier whose clock is past every deadline at the second look."""
    ticks = count(step=1000)
    return Barrier(
        directory,
        epoch=RemovalEpoch(directory),
        clock=lambda: next(ticks),
        sleep=lambda _seconds: None,
    )


def test_links_are_written_side_by_side(directory: Path) -> None:
    """Writers do not wait for each other."""
    with _barrier(directory).linking([ONE]), _impatient(directory).linking([OTHER]):
        pass


def test_nobody_links_during_a_removal(directory: Path) -> None:
    """A removal keeps out writers, other removers and new marks, of other processes too."""
    with _barrier(directory).removing():
        for enter in (
            lambda: _impatient(directory).linking([ONE]),
            lambda: _impatient(directory).removing(),
            lambda: _impatient(directory).mark(),
        ):
            with pytest.raises(StorageUnavailableError, match="for too long"), enter():
                pass
    with _barrier(directory).linking([ONE]), _barrier(directory).linking([ONE]):
        pass


def test_nothing_is_removed_while_a_link_is_written(directory: Path) -> None:
    """A remover, and who begins a mark, wait for the end of links that are being written."""
    with _barrier(directory).linking([ONE]):
        for enter in (_impatient(directory).removing, _impatient(directory).mark):
            with pytest.raises(StorageUnavailableError), enter():
                pass


def test_a_mark_is_told_of_links(directory: Path) -> None:
    """Each journal has what was linked since it began, once."""
    barrier = _barrier(directory)
    with barrier.linking([ONE]):
        pass
    with barrier.mark() as mark, _barrier(directory).mark() as second:
        with barrier.linking([OTHER, THIRD]):
            pass
        assert mark.linked() == {OTHER, THIRD}
        assert mark.linked() == set()
        with barrier.linking([ONE]):
            assert mark.linked() == {ONE}
        assert second.linked() == {ONE, OTHER, THIRD}
    assert not list((directory / "marks").iterdir())


def test_a_journal_survives_what_a_crash_cut_off(directory: Path) -> None:
    """A line that was not written to its end spoils no other."""
    barrier = _barrier(directory)
    with barrier.mark() as mark:
        (path,) = (directory / "marks").iterdir()
        with path.open("ab") as file:
            file.write(b"\nsha256:0123")
        with barrier.linking([OTHER]):
            pass
        with path.open("ab") as file:
            file.write(b"\n\xff\n")
        assert mark.linked() == {OTHER}


def test_the_journal_of_a_crashed_owner_is_removed(directory: Path) -> None:
    """A journal that nobody holds locked is not written to, but tidied away."""
    left = put(directory / "marks/left-behind", b"\n")
    with _barrier(directory).mark() as mark:
        with _barrier(directory).linking([ONE]):
            pass
        assert mark.linked() == {ONE}
        assert not left.exists()


def test_a_link_that_cannot_be_noted_is_not_written(small_volume: Path) -> None:
    """On a full disk a link that a mark would not hear of is refused: it may lead to nothing."""
    barrier = _barrier(small_volume / "roadstead")
    with barrier.mark() as mark:
        with pytest.raises(OSError, match="No space left"):
            (small_volume / "ballast").write_bytes(bytes(300_000))
        with pytest.raises(StorageFullError), barrier.linking([ONE]):
            pytest.fail("the link would have been written")
        assert mark.linked() == set()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_nothing_is_removed(
    directory: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the file system has no flock, links are written, said once, and removers refused."""

    def none(_file: FileIO, _kind: int) -> None:
        raise OSError(number, os.strerror(number))

    barrier = Barrier(directory, epoch=RemovalEpoch(directory), lock=none)
    for _ in range(2):
        with barrier.linking([ONE]):
            pass
    assert [record.message for record in caplog.records] == [
        "the file system of the store has no locks (flock), so nothing can be removed"
    ]
    for enter in (barrier.removing, barrier.mark):
        with pytest.raises(StorageUnavailableError, match="has no locks"), enter():
            pytest.fail("something would have been removed")


def test_an_epoch_passes_with_the_removals_of_others(directory: Path) -> None:
    """A process hears of what others have removed, also between removals of its own."""
    epoch = RemovalEpoch(directory)
    own = Barrier(directory, epoch=epoch)
    assert epoch.has_passed()
    assert not epoch.has_passed()
    with own.removing():
        pass
    assert not epoch.has_passed()
    with _barrier(directory).removing():
        pass
    with own.removing():
        pass
    assert epoch.has_passed()
    assert not epoch.has_passed()


@pytest.mark.parametrize(("writers", "removers"), [(12, 1), (1, 4)])
def test_nobody_starves(directory: Path, writers: int, removers: int) -> None:
    """Many that never pause cannot keep out one of the other kind."""
    done = threading.Event()
    turns = dict.fromkeys(("link", "removal"), 0)
    failures: list[Exception] = []
    barrier = _barrier(directory)

    def work(kind: str, enter: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                enter()
                turns[kind] += 1
                if min(turns.values()) > 9:
                    done.set()
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)
            done.set()

    def link() -> None:
        with barrier.linking([ONE]):
            put(directory / f"links/{threading.get_ident()}", b"")

    def remove() -> None:
        with barrier.removing():
            put(directory / "removed", b"")

    kinds = [("link", link)] * writers + [("removal", remove)] * removers
    threads = [threading.Thread(target=work, args=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert min(turns.values()) > 9
