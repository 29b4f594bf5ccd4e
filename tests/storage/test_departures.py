"""What a killed batch of removals has removed is told of by the next one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from roadstead.oci.digest import Digest
from roadstead.storage.base import (
    Removed,
    RemovedData,
    RemovedLayerLink,
    RemovedManifest,
    RemovedTag,
)
from roadstead.storage.departures import Departures
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.removal import FilesystemRemoval
from tests.storage.blobs import ALPINE, LATEST, hold_blob
from tests.support.volumes import put

LAYER = b"a layer"
DIGEST = Digest.of(LAYER)
MANIFEST = b'{"schemaVersion": 2}'
MANIFEST_DIGEST = Digest.of(MANIFEST)


class _Killed(FilesystemRemoval):
    """Dies before it can tell."""

    def end(self, *, well: bool) -> None:  # noqa: ARG002 - as in the class
        """Let go of the notes, as the end of a process does."""
        self._departures.close()


class _KilledStore(FilesystemStore):
    removals = _Killed


class _FailingRemoval(FilesystemRemoval):
    """Fails half way through the removal of a tag."""

    def _prune(self, directory: Path) -> None:
        raise PermissionError(directory)


class _FailingStore(FilesystemStore):
    removals = _FailingRemoval


def _told(store: FilesystemStore) -> list[Removed]:
    told: list[Removed] = []
    store.on_removal(lambda _at, removed: told.extend(removed))
    return told


async def _hold(root: Path) -> None:
    store = FilesystemStore(root)
    hold_blob(store, LAYER, ALPINE)
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await store.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 0.0)


def _remove_all(store: FilesystemStore) -> None:
    with store.removing() as removal:
        removal.remove_tag(ALPINE, LATEST)
        removal.remove_manifest(ALPINE, MANIFEST_DIGEST)
        removal.remove_layer_link(ALPINE, DIGEST)
        removal.remove_data(DIGEST)


async def test_what_a_killed_batch_removed_is_told_by_the_next(tmp_path: Path) -> None:
    """Whoever removes next tells of it, once, and before anything else."""
    await _hold(tmp_path)
    killed = _KilledStore(tmp_path)
    assert not killed.was_cut_short()
    told_before = _told(killed)
    _remove_all(killed)
    assert told_before == []

    store = FilesystemStore(tmp_path)
    assert store.was_cut_short()
    told = _told(store)
    with store.removing():
        assert told == [
            RemovedTag(ALPINE, LATEST),
            RemovedManifest(ALPINE, MANIFEST_DIGEST),
            RemovedLayerLink(ALPINE, DIGEST),
            RemovedData(DIGEST, len(LAYER)),
        ]
    assert not store.was_cut_short()
    with store.removing():
        pass
    assert len(told) == 4


async def test_what_is_there_again_is_not_told(tmp_path: Path) -> None:
    """Only what is gone was removed: it may not have come to that, or have been fetched since."""
    await _hold(tmp_path)
    killed = _KilledStore(tmp_path)
    _told(killed)
    _remove_all(killed)
    hold_blob(FilesystemStore(tmp_path), LAYER, ALPINE)

    store = FilesystemStore(tmp_path)
    told = _told(store)
    with store.removing():
        assert told == [RemovedTag(ALPINE, LATEST), RemovedManifest(ALPINE, MANIFEST_DIGEST)]


async def test_whoever_has_nobody_to_tell_leaves_the_notes(tmp_path: Path) -> None:
    """A process without a database beside it must not make others lose what they need."""
    await _hold(tmp_path)
    killed = _KilledStore(tmp_path)
    _told(killed)
    _remove_all(killed)

    with FilesystemStore(tmp_path).removing():
        pass

    assert FilesystemStore(tmp_path).was_cut_short()


async def test_a_step_that_failed_half_way_is_told(tmp_path: Path) -> None:
    """Its link may have gone before it failed."""
    await _hold(tmp_path)
    failing = _FailingStore(tmp_path)
    told = _told(failing)
    with pytest.raises(Exception, match="Delete"), failing.removing() as removal:
        removal.remove_layer_link(ALPINE, DIGEST)
    assert told == []

    store = FilesystemStore(tmp_path)
    told = _told(store)
    with store.removing():
        assert told == [RemovedLayerLink(ALPINE, DIGEST)]


async def test_notes_never_need_more_room(tmp_path: Path) -> None:
    """A batch that is larger than its notes may be tells in between."""
    store = FilesystemStore(tmp_path)
    batches: list[Sequence[Removed]] = []
    store.on_removal(lambda _at, removed: batches.append(removed))
    layout = Layout(tmp_path)
    digests = [Digest.of(str(number).encode()) for number in range(1200)]
    for digest in digests:
        put(layout.layer_link(ALPINE, digest), str(digest).encode())

    with store.removing() as removal:
        room = (layout.own / "departures").stat().st_size
        for digest in digests:
            removal.remove_layer_link(ALPINE, digest)

    assert (layout.own / "departures").stat().st_size == room
    assert len(batches) == 2
    told = [one for batch in batches for one in batch]
    assert told == [RemovedLayerLink(ALPINE, digest) for digest in digests]


@contextmanager
def _noting(layout: Layout) -> Iterator[Departures]:
    departures = Departures(layout)
    departures.open()
    yield departures
    departures.close()


def test_spoiled_notes_are_passed_over(tmp_path: Path) -> None:
    """What a power loss leaves in the file is no error."""
    layout = Layout(tmp_path)
    layout.own.mkdir()
    with _noting(layout) as departures:
        departures.note(RemovedTag(ALPINE, LATEST))
    file = layout.own / "departures"
    spoiled = b"tag ../.. x\nlayer a\n\xff\xfe x y\ndata sha256:1 x\nwhat a b\n"
    spoiled += f"manifest {ALPINE} {MANIFEST_DIGEST}\n".encode()
    with file.open("r+b") as opened:
        opened.write(spoiled + b"\0")

    assert Departures(layout).left() == [RemovedManifest(ALPINE, MANIFEST_DIGEST)]
