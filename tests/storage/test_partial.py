"""Partial files: locks, resumption, failures of the disk."""

import os
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadstead.errors import StorageFullError, StorageUnavailableError
from roadstead.oci.digest import Digest
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.partial import FilesystemPartialBlob, current_boot_id, try_lock
from tests.storage.blobs import ALPINE, read_blob
from tests.support.volumes import files_below, put

CONTENT = bytes(range(256)) * 4
DIGEST = Digest.of(CONTENT)


def _store(root: Path) -> FilesystemStore:
    return FilesystemStore(root, boot_id="boot")


@settings(max_examples=60)
@given(
    content=st.binary(max_size=2000),
    algorithm=st.sampled_from(["sha256", "sha384", "sha512"]),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    attempts=st.sets(st.integers(0, 8), max_size=4),
)
def test_any_chunks_and_any_interruptions_give_the_blob(
    content: bytes, algorithm: str, cuts: list[int], attempts: set[int]
) -> None:
    """However a blob is cut into chunks and attempts, it ends as one whole blob."""
    digest = Digest.of(content, algorithm)
    borders = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    with TemporaryDirectory() as root:
        partial = _store(Path(root)).partial_blob(digest)
        for number, (first, last) in enumerate(pairwise(borders)):
            if number in attempts:
                partial.close()
                partial = _store(Path(root)).partial_blob(digest)
            assert partial.offset == first
            assert partial.prefix_hexdigest() == Digest.of(content[:first], algorithm).encoded
            partial.write(content[first:last])
        partial.verify()
        partial.commit(frozenset({ALPINE}))
        assert read_blob(_store(Path(root)), digest) == content
        assert not _leftovers(Path(root))


def _leftovers(root: Path) -> list[str]:
    return [name for name in files_below(root) if "partial" in name or name.endswith(".tmp")]


def test_a_second_writer_uses_a_private_file(tmp_path: Path) -> None:
    """A locked file is left alone; the private one beside it goes with its writer."""
    with closing(_store(tmp_path).partial_blob(DIGEST)) as first:
        first.write(CONTENT[:7])
        with closing(_store(tmp_path).partial_blob(DIGEST)) as other:
            other.write(CONTENT[:9])
            assert len(_leftovers(tmp_path)) == 2
        assert files_below(tmp_path) == {
            f"roadstead/partial/boot/sha256/{DIGEST.encoded}": CONTENT[:7]
        }


def test_a_private_file_is_kept_when_committed(tmp_path: Path) -> None:
    """Closing after the commit of a private file removes nothing."""
    store = _store(tmp_path)
    with closing(store.partial_blob(DIGEST)):
        other = store.partial_blob(DIGEST)
        other.write(CONTENT)
        other.commit(frozenset())
        other.close()
    assert read_blob(store, DIGEST) == CONTENT


def test_a_lock_ends_with_its_writer(tmp_path: Path) -> None:
    """After close, commit or discard nobody is kept from the file."""
    store = _store(tmp_path)
    for end in (FilesystemPartialBlob.close, FilesystemPartialBlob.discard):
        end(store.partial_blob(DIGEST))
        with closing(store.partial_blob(DIGEST)) as again:
            again.write(b"x")
            assert len(_leftovers(tmp_path)) == 1


def test_a_committed_file_cannot_be_locked_for_writing(tmp_path: Path) -> None:
    """Who opened the partial file just before it was committed does not get to write to it."""
    store = _store(tmp_path)
    partial = store.partial_blob(DIGEST)
    partial.write(CONTENT)
    path = Layout(tmp_path).partial("boot", DIGEST)
    with path.open("a+b", buffering=0) as late:
        assert not try_lock(late, path)
        partial.commit(frozenset())
        assert not try_lock(late, path)
        with closing(store.partial_blob(DIGEST)):
            assert not try_lock(late, path)


def test_discarding_what_was_let_go_touches_nothing(tmp_path: Path) -> None:
    """After close the file may be another's; a late discard must not remove it."""
    store = _store(tmp_path)
    partial = store.partial_blob(DIGEST)
    partial.write(CONTENT[:3])
    partial.close()
    partial.discard()
    with closing(store.partial_blob(DIGEST)) as again:
        assert again.offset == 3


@pytest.mark.parametrize("damaged", [b"", b"short", bytes(len(CONTENT))])
def test_a_commit_replaces_damaged_data(tmp_path: Path, damaged: bytes) -> None:
    """Data that a crash left empty, short or full of zeros is healed by the next commit."""
    put(Layout(tmp_path).blob(DIGEST), damaged)
    store = _store(tmp_path)
    with closing(store.partial_blob(DIGEST)) as partial:
        partial.write(CONTENT)
        partial.commit(frozenset())
    assert read_blob(store, DIGEST) == CONTENT


def test_partial_blobs_of_another_boot_are_not_resumed(tmp_path: Path) -> None:
    """What an earlier kernel wrote may never have reached the disk."""
    with closing(FilesystemStore(tmp_path, boot_id="before").partial_blob(DIGEST)) as partial:
        partial.write(CONTENT)
    with closing(FilesystemStore(tmp_path, boot_id="after").partial_blob(DIGEST)) as partial:
        assert partial.offset == 0


def test_the_boot_has_one_name() -> None:
    """The kernel's name for its run is stable, and usable as one directory."""
    assert current_boot_id() == current_boot_id()
    assert Path(current_boot_id()).name == current_boot_id()


def test_a_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    """After a failed sync the bytes are given up: a second sync would lie about them."""
    store = _store(tmp_path)
    partial = store.partial_blob(DIGEST)
    partial.write(CONTENT)
    reader, writer = os.pipe()
    os.dup2(writer, partial._file.fileno())  # a pipe cannot be synced

    with pytest.raises(StorageUnavailableError, match="syncing a partial blob failed"):
        partial.commit(frozenset({ALPINE}))

    assert files_below(tmp_path) == {}
    os.close(reader)
    os.close(writer)


def test_a_full_disk_keeps_what_was_written(small_volume: Path) -> None:
    """Running out of space says so, counts what is there, and can go on once there is room."""
    ballast = put(small_volume / "ballast", bytes(200_000))
    content = os.urandom(150_000)
    store = _store(small_volume)
    with closing(store.partial_blob(Digest.of(content))) as partial:
        with pytest.raises(StorageFullError):
            partial.write(content)
        assert 0 < partial.offset < len(content)
        assert partial.prefix_hexdigest() == Digest.of(content[: partial.offset]).encoded

        ballast.unlink()
        partial.write(content[partial.offset :])
        partial.commit(frozenset({ALPINE}))
    assert read_blob(store, Digest.of(content)) == content


def test_a_root_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    """A store can be made anywhere; the write says what is wrong."""
    store = _store(put(tmp_path / "file", b""))
    with pytest.raises(StorageUnavailableError, match="opening a partial blob"):
        store.partial_blob(DIGEST)
