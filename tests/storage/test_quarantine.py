"""Damaged data out of sight: where it goes, what stays, and for how long."""

from pathlib import Path

import pytest

from roadstead.oci.digest import Digest
from roadstead.storage.base import Damage, RemovedData
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.storage.blobs import ALPINE, hold_blob, read_blob
from tests.support.volumes import files_below, put

CONTENT = b"a layer"


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    """Give an empty store."""
    return FilesystemStore(tmp_path, boot_id="boot")


def put_away(store: FilesystemStore, digest: Digest) -> bool:
    """Put data into quarantine, as it is now."""
    seen = store.identify(digest)
    assert seen is not None
    with store.removing() as removal:
        return removal.quarantine_data(digest, Damage.CONTENT, seen)


async def test_the_file_moves_and_its_links_stay(store: FilesystemStore, tmp_path: Path) -> None:
    """Nobody is served from quarantine, the bytes are there to be looked at, and all are told."""
    digest = hold_blob(store, CONTENT, ALPINE)
    told: list[object] = []
    store.on_removal(lambda _at, removed: told.extend(removed))
    wrong = put(Layout(tmp_path).blob(digest), b"a laye?")

    assert put_away(store, digest)

    assert store.open_blob(digest) is None
    assert await store.stat_blob(ALPINE, digest) is None
    assert Layout(tmp_path).layer_link(ALPINE, digest).exists()
    assert told == [RemovedData(digest, 7)]
    (kept,) = store.quarantined()
    assert (kept.digest, kept.damage, kept.size_bytes) == (digest, Damage.CONTENT, 7)
    assert list(files_below(tmp_path / "roadstead/quarantine").values()) == [b"a laye?"]
    assert not wrong.parent.exists()


async def test_data_that_was_replaced_meanwhile_stays(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """What was seen to be damaged is another file than the one that a fetch has put there."""
    digest = hold_blob(store, CONTENT, ALPINE)
    put(Layout(tmp_path).blob(digest), b"wrong")
    seen = store.identify(digest)
    hold_blob(store, CONTENT, ALPINE)

    assert seen is not None
    with store.removing() as removal:
        assert not removal.quarantine_data(digest, Damage.CONTENT, seen)

    assert read_blob(store, digest) == CONTENT
    assert store.quarantined() == []


def test_the_oldest_goes_when_there_is_too_much(store: FilesystemStore, tmp_path: Path) -> None:
    """By age, then by size; what is no quarantined data is left alone."""
    directory = tmp_path / "roadstead/quarantine/sha256"
    digests = [Digest.of(bytes([number])) for number in range(4)]
    for number, digest in enumerate(digests):
        put(directory / f"{digest.encoded}.content.{1000 + number}", bytes(100))
    odd = put(directory / "notes.txt", b"mine")

    assert [one.digest for one in store.quarantined()] == digests
    assert store.bound_quarantine(max_bytes=10**6, max_age_seconds=10**6, now=2000.0) == 0
    assert store.bound_quarantine(max_bytes=10**6, max_age_seconds=999.5, now=2000.0) == 100
    assert store.bound_quarantine(max_bytes=250, max_age_seconds=10**6, now=2000.0) == 100

    assert [one.digest for one in store.quarantined()] == digests[2:]
    assert odd.exists()


async def test_a_directory_in_the_place_of_a_file_goes_aside(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """Data, manifests and links are written all the same, whatever is in the directory."""
    layout = Layout(tmp_path)
    digest, manifest = Digest.of(CONTENT), Digest.of(b"{}")
    for path in (
        layout.blob(digest),
        layout.layer_link(ALPINE, digest),
        layout.blob(manifest),
        layout.revision_link(ALPINE, manifest),
    ):
        put(path / "something", b"odd")

    hold_blob(store, CONTENT, ALPINE)
    await store.write_manifest(ALPINE, manifest, b"{}")

    assert read_blob(store, digest) == CONTENT
    assert await store.stat_blob(ALPINE, digest) == len(CONTENT)
    assert await store.read_manifest(ALPINE, manifest) == b"{}"
    # Under names that every reader skips, and a collection removes.
    odd = [name for name in files_below(tmp_path) if name.endswith("/something")]
    assert len(odd) == 4
    assert all(Path(name).parent.suffix == ".tmp" for name in odd)


def test_a_walk_goes_on_behind_a_digest(store: FilesystemStore) -> None:
    """In the order of algorithm and digest, from any digest, held or not."""
    held = sorted(
        (
            hold_blob(store, bytes([number]), algorithm=algorithm)
            for number in range(6)
            for algorithm in ("sha256", "sha512")
        ),
        key=lambda digest: (digest.algorithm, digest.encoded),
    )

    assert [one.digest for one in store.walk.data()] == held
    for number, digest in enumerate(held):
        assert [one.digest for one in store.walk.data(digest)] == held[number + 1 :]
    nowhere = Digest("sha256", held[2].encoded[:63] + "0")
    assert [one.digest for one in store.walk.data(nowhere)] == held[2:]


async def test_linkers_are_found_without_data(store: FilesystemStore, tmp_path: Path) -> None:
    """Whoever links, as a manifest or as a layer."""
    layer = hold_blob(store, CONTENT, ALPINE)
    manifest = Digest.of(b"{}")
    await store.write_manifest(ALPINE, manifest, b"{}")
    for digest in (layer, manifest):
        Layout(tmp_path).blob(digest).unlink()

    found = {(one.digest, one.is_manifest) for one in store.walk.linkers([layer, manifest])}

    assert found == {(layer, False), (manifest, True)}
