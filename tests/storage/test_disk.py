"""How full the disk is, and what unfinished downloads take of it."""

import os
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.storage.disk import look
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.support.volumes import put

DIGEST = Digest.of(b"content")


def test_a_store_that_is_not_made_yet_is_on_its_parents_disk(tmp_path: Path) -> None:
    """The first write makes the root."""
    disk = FilesystemStore(tmp_path / "not" / "there").disk()
    found = os.statvfs(tmp_path)
    assert disk.total_bytes == found.f_blocks * found.f_frsize
    assert 0 < disk.free_bytes <= disk.total_bytes
    assert disk.partials == {}
    assert (disk.log_bytes, disk.block_bytes) == (0, found.f_frsize)


def test_partial_files_count_by_their_digest(tmp_path: Path) -> None:
    """Private ones too, those of another boot too; what is no partial file does not."""
    store = FilesystemStore(tmp_path, boot_id="now")
    first, second = store.partial_blob(DIGEST), store.partial_blob(DIGEST)
    first.write(b"cont")
    second.write(b"co")
    earlier = tmp_path / "roadstead" / "partial" / "before" / "sha256" / DIGEST.encoded
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"c")
    (earlier.parent / "readme").write_bytes(b"text")
    assert store.disk().partials == {DIGEST: 7}
    first.close()
    second.close()


class _Arriving(Layout):
    """Where a blob arrives at the moment that its partial file is about to be looked at."""

    __slots__ = ()

    @property
    def partials(self) -> Path:
        """Write 64 KiB, and tell where."""
        directory = Path(f"{self.root}/roadstead/partial")
        put(directory / f"now/{DIGEST.algorithm}/{DIGEST.encoded}", bytes(65536))
        return directory


def test_what_arrives_meanwhile_is_not_missed(small_volume: Path) -> None:
    """As unwritten or as no longer free: else more would be promised than there is room for."""
    disk = look(_Arriving(small_volume))

    found = os.statvfs(small_volume)
    assert disk.partials == {DIGEST: 65536}
    assert disk.free_bytes <= found.f_bavail * found.f_frsize


def test_the_databases_log_is_looked_at(tmp_path: Path) -> None:
    """How much more room it needs depends on how large it is."""
    put(Layout(tmp_path).metadata_log, b"log")
    assert FilesystemStore(tmp_path).disk().log_bytes == 3
