"""Removing partial blobs that nobody will resume."""

import os
from contextlib import closing
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.purge import Purged
from tests.support.volumes import files_below, put

ONE, OTHER, THIRD = (Digest.of(content) for content in (b"1", b"2", b"3"))
NOW = 1_000_000.0
WEEK = 168 * 3600.0
FAR_FUTURE = 1e11


def _partial(root: Path, boot_id: str, digest: Digest, *, age: float = 0.0) -> Path:
    path = put(Layout(root).partial(boot_id, digest), b"begun")
    os.utime(path, (NOW - age, NOW - age))
    return path


async def test_a_missing_directory_has_nothing_to_remove(tmp_path: Path) -> None:
    """A new volume is no special case."""
    store = FilesystemStore(tmp_path / "missing", boot_id="boot")
    assert await store.remove_stale_partials() == Purged()
    assert await store.purge_partials(older_than_seconds=WEEK, now=NOW) == Purged()
    assert not (tmp_path / "missing").exists()


async def test_partial_blobs_of_other_boots_are_removed(tmp_path: Path) -> None:
    """Files of earlier boots go with their directories; those of this boot stay."""
    kept = _partial(tmp_path, "boot", ONE)
    _partial(tmp_path, "earlier", ONE)
    _partial(tmp_path, "earliest", Digest.of(b"", "sha512"))
    store = FilesystemStore(tmp_path, boot_id="boot")

    assert await store.remove_stale_partials() == Purged(files=2, size_bytes=10)
    assert files_below(tmp_path).keys() == {str(kept.relative_to(tmp_path))}
    assert [path.name for path in Layout(tmp_path).partials.iterdir()] == ["boot"]


async def test_private_leftovers_are_removed(tmp_path: Path) -> None:
    """A private file of a killed process will never be found again, so it goes."""
    shared = _partial(tmp_path, "boot", ONE)
    put(shared.with_name(f"{ONE.encoded}.1234-5678"), b"private")
    store = FilesystemStore(tmp_path, boot_id="boot")

    assert await store.remove_stale_partials() == Purged(files=1, size_bytes=7)
    assert shared.exists()


async def test_only_old_partial_blobs_are_purged(tmp_path: Path) -> None:
    """The age counts from the last write, and is exceeded, not reached."""
    _partial(tmp_path, "boot", ONE, age=WEEK + 1)
    _partial(tmp_path, "boot", OTHER, age=WEEK)
    _partial(tmp_path, "boot", THIRD, age=-60.0)
    store = FilesystemStore(tmp_path, boot_id="boot")

    purged = await store.purge_partials(older_than_seconds=WEEK, now=NOW)

    assert purged == Purged(files=1, size_bytes=5)
    assert len(files_below(tmp_path)) == 2


async def test_what_is_being_written_is_never_removed(tmp_path: Path) -> None:
    """A lock protects a file from both, whatever its age and whatever host holds it."""
    elsewhere = FilesystemStore(tmp_path, boot_id="another host")
    here = FilesystemStore(tmp_path, boot_id="boot")
    with closing(elsewhere.partial_blob(ONE)) as theirs, closing(here.partial_blob(ONE)) as ours:
        theirs.write(b"1")
        ours.write(b"1")
        assert await here.remove_stale_partials() == Purged()
        assert await here.purge_partials(older_than_seconds=WEEK, now=FAR_FUTURE) == Purged()
        assert len(files_below(tmp_path)) == 2
        ours.commit(frozenset())
        theirs.commit(frozenset())
