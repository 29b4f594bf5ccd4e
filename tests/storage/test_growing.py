"""Partial files seen from another process; each store here stands for one."""

from contextlib import closing
from pathlib import Path

import pytest

from roadstead.errors import StorageBusyError
from roadstead.oci.digest import Digest
from roadstead.storage.base import Announcement, GrowingBlob, GrowthEnd
from roadstead.storage.filesystem import FilesystemStore
from tests.storage.blobs import ALPINE
from tests.support.volumes import files_below

CONTENT = bytes(range(256)) * 4
DIGEST = Digest.of(CONTENT)


def _store(root: Path) -> FilesystemStore:
    return FilesystemStore(root, boot_id="boot", shared=True)


def _growing(root: Path) -> GrowingBlob:
    growing = _store(root).growing_blob(DIGEST)
    assert growing is not None
    return growing


def test_a_shared_file_has_one_writer(tmp_path: Path) -> None:
    """The second one is told to follow, and nothing is written beside the first."""
    with closing(_store(tmp_path).partial_blob(DIGEST)):
        with pytest.raises(StorageBusyError):
            _store(tmp_path).partial_blob(DIGEST)
        assert len(files_below(tmp_path)) == 1


def test_there_is_nothing_to_follow(tmp_path: Path) -> None:
    """No file is no growing blob."""
    assert _store(tmp_path).growing_blob(DIGEST) is None


def test_bytes_and_announcements_are_seen(tmp_path: Path) -> None:
    """Nothing is announced before the writer says so; then size, repository and the verdict."""
    partial = _store(tmp_path).partial_blob(DIGEST)
    growing = _growing(tmp_path)
    with growing.file:
        partial.write(CONTENT[:7])
        assert (growing.arrived(), growing.announcement(), growing.end()) == (7, None, None)
        partial.announce(ALPINE, None)
        assert growing.announcement() == Announcement(ALPINE, None, is_verified=False)
        partial.announce(ALPINE, len(CONTENT))
        partial.write(CONTENT[7:])
        partial.announce_verified()
        assert growing.announcement() == Announcement(ALPINE, len(CONTENT), is_verified=True)
        partial.commit(frozenset({ALPINE}))
        assert growing.end() is GrowthEnd.COMMITTED
        assert growing.announcement() is None
        assert growing.arrived() == len(CONTENT)
    assert not [name for name in files_below(tmp_path) if "partial" in name]


def test_a_file_whose_writer_left_is_free(tmp_path: Path) -> None:
    """Its lock is gone, and it lies where the next writer finds it."""
    partial = _store(tmp_path).partial_blob(DIGEST)
    partial.write(CONTENT[:7])
    growing = _growing(tmp_path)
    with growing.file:
        partial.close()
        assert growing.end() is GrowthEnd.FREE
    with closing(_store(tmp_path).partial_blob(DIGEST)) as next_one:
        assert next_one.offset == 7


def test_a_discarded_file_is_gone(tmp_path: Path) -> None:
    """With its announcement."""
    partial = _store(tmp_path).partial_blob(DIGEST)
    partial.announce(ALPINE, 7)
    growing = _growing(tmp_path)
    with growing.file:
        partial.discard()
        assert growing.end() is GrowthEnd.GONE
    assert files_below(tmp_path) == {}


def test_a_file_is_only_appended_to(tmp_path: Path) -> None:
    """A writer that begins anew takes another file, so that nobody mixes two contents."""
    partial = _store(tmp_path).partial_blob(DIGEST)
    partial.announce(ALPINE, len(CONTENT))
    partial.write(b"another content")
    growing = _growing(tmp_path)
    with growing.file:
        partial.restart()
        partial.announce(ALPINE, len(CONTENT))
        partial.write(CONTENT)
        assert growing.file.read() == b"another content"
        assert growing.announcement() is None
        assert growing.end() is GrowthEnd.GONE
    with pytest.raises(StorageBusyError):
        _store(tmp_path).partial_blob(DIGEST)
    partial.commit(frozenset({ALPINE}))
    assert not [name for name in files_below(tmp_path) if "partial" in name]


async def test_announcements_go_with_their_files(tmp_path: Path) -> None:
    """A purge counts no announcement, and leaves that of a running fetch."""
    left = _store(tmp_path).partial_blob(DIGEST)
    left.announce(ALPINE, 7)
    left.write(b"x")
    left.close()
    running = _store(tmp_path).partial_blob(Digest.of(b"running"))
    running.announce(ALPINE, 7)

    later = FilesystemStore(tmp_path, boot_id="later", shared=True)
    purged = await later.remove_stale_partials()

    assert (purged.files, purged.size_bytes) == (1, 1)
    assert len(files_below(tmp_path)) == 2
    running.close()
    assert (await later.remove_stale_partials()).files == 1
    assert files_below(tmp_path) == {}
