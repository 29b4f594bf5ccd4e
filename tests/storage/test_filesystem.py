"""The filesystem store on volumes that others, or crashes, have left."""

import asyncio
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from roadstead.errors import StorageError, StorageFullError, StorageUnavailableError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from roadstead.storage.base import HeldTag
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.telemetry.events import Event, StorageTimed
from tests.storage.blobs import ALPINE, LATEST, NGINX, hold_blob, read_blob
from tests.support.volumes import files_below, put

CONTENT = b"a layer"
DIGEST = Digest.of(CONTENT)
SHA512 = Digest.of(CONTENT, "sha512")
MANIFEST = b'{"schemaVersion": 2}'
MANIFEST_DIGEST = Digest.of(MANIFEST)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give the layout of a volume that does not exist yet."""
    return Layout(tmp_path / "volume")


@pytest.fixture
def volume(layout: Layout) -> FilesystemStore:
    """Give the store on that volume."""
    return FilesystemStore(layout.root, boot_id="boot")


async def test_every_write_leaves_its_files_and_no_other(
    volume: FilesystemStore, layout: Layout
) -> None:
    """A whole volume is exactly data, links, referrers and locks, without temporary files."""
    hold_blob(volume, CONTENT, ALPINE)
    await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await volume.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 0.0)
    await volume.write_referrers(ALPINE, MANIFEST_DIGEST, b"{}")

    expected = {
        layout.blob(DIGEST): CONTENT,
        layout.layer_link(ALPINE, DIGEST): str(DIGEST).encode(),
        layout.blob(MANIFEST_DIGEST): MANIFEST,
        layout.revision_link(ALPINE, MANIFEST_DIGEST): str(MANIFEST_DIGEST).encode(),
        layout.tag_index_link(ALPINE, LATEST, MANIFEST_DIGEST): str(MANIFEST_DIGEST).encode(),
        layout.tag_current_link(ALPINE, LATEST): str(MANIFEST_DIGEST).encode(),
        layout.referrers(ALPINE, MANIFEST_DIGEST): b"{}",
        layout.own / "links.gate": b"",
        layout.own / "links.lock": b"",
        layout.own / "removals": b"00000000-0000-0000-0000-000000000000",
    }
    assert files_below(layout.root) == {
        str(path.relative_to(layout.root)): content for path, content in expected.items()
    }


def test_a_store_touches_nothing_before_the_first_write(
    volume: FilesystemStore, layout: Layout
) -> None:
    """Making a store and asking it leaves no trace."""
    assert volume.open_blob(DIGEST) is None
    assert not layout.root.exists()


async def test_empty_data_is_absent(volume: FilesystemStore, layout: Layout) -> None:
    """A data file that a crash left empty is not a blob."""
    put(layout.blob(DIGEST), b"")
    put(layout.layer_link(ALPINE, DIGEST), str(DIGEST).encode())
    assert await volume.stat_data(DIGEST) is None
    assert await volume.stat_blob(ALPINE, DIGEST) is None
    assert volume.open_blob(DIGEST) is None


async def test_a_directory_in_place_of_data_is_absent(
    volume: FilesystemStore, layout: Layout
) -> None:
    """Only a regular file is data."""
    layout.blob(DIGEST).mkdir(parents=True)
    put(layout.layer_link(ALPINE, DIGEST), str(DIGEST).encode())
    assert await volume.stat_blob(ALPINE, DIGEST) is None
    assert volume.open_blob(DIGEST) is None


@pytest.mark.parametrize("damage", [b"", str(DIGEST).encode() + b"\n", b"\x00" * 71])
async def test_damaged_links_are_absent_and_repaired(
    volume: FilesystemStore, layout: Layout, damage: bytes
) -> None:
    """Every kind of link, once damaged, means absence until it is written again."""
    hold_blob(volume, CONTENT, ALPINE)
    await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await volume.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 5.0)
    before = files_below(layout.root)
    for name in before:
        if name.endswith("/link"):
            put(layout.root / name, damage)

    assert await volume.stat_blob(ALPINE, DIGEST) is None
    assert await volume.read_manifest(ALPINE, MANIFEST_DIGEST) is None
    assert not await volume.has_manifest(ALPINE, MANIFEST_DIGEST)
    assert await volume.resolve_tag(ALPINE, LATEST) is None
    assert await volume.list_tags(ALPINE) == []

    await volume.link_blob(ALPINE, DIGEST)
    await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await volume.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 5.0)
    assert files_below(layout.root) == before


async def test_a_link_to_other_content_is_no_access(
    volume: FilesystemStore, layout: Layout
) -> None:
    """A link of one digest that holds another of the same algorithm opens neither."""
    hold_blob(volume, CONTENT, NGINX)
    other = hold_blob(volume, b"other", NGINX)
    put(layout.layer_link(ALPINE, DIGEST), str(other).encode())
    assert await volume.stat_blob(ALPINE, DIGEST) is None
    assert await volume.stat_blob(ALPINE, other) is None


@pytest.mark.parametrize("damage", [b"", b"{", bytes(len(MANIFEST)), MANIFEST + b" "])
async def test_a_damaged_manifest_is_absent_and_repaired(
    volume: FilesystemStore, layout: Layout, damage: bytes
) -> None:
    """Wrong bytes are never served as a manifest, and the next write replaces them."""
    await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    put(layout.blob(MANIFEST_DIGEST), damage)
    assert await volume.read_manifest(ALPINE, MANIFEST_DIGEST) is None
    await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    assert await volume.read_manifest(ALPINE, MANIFEST_DIGEST) == MANIFEST


async def test_leftovers_of_others_are_passed_over(volume: FilesystemStore, layout: Layout) -> None:
    """Temporary files, uploads and an empty scheduler state mean nothing to us."""
    await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await volume.write_tag(ALPINE, LATEST, MANIFEST_DIGEST, 0.0)
    repository = layout.repository(ALPINE)
    put(layout.root / "scheduler-state.json", b"")
    put(layout.tag_current_link(ALPINE, Tag("3.20")).with_name("link.1234.tmp"), b"sha2")
    put(layout.tags(ALPINE) / "link.1234.tmp", b"")
    put(repository / "_uploads/1234/data", b"part")
    put(layout.blob(DIGEST).with_name("data.1234.tmp"), CONTENT)

    assert await volume.list_repositories(after=None, limit=9) == [ALPINE]
    assert await volume.list_tags(ALPINE) == [LATEST]
    assert await volume.resolve_tag(ALPINE, Tag("3.20")) is None
    assert await volume.stat_data(DIGEST) is None


async def test_a_blob_stored_under_its_sha256_is_found(
    volume: FilesystemStore, layout: Layout
) -> None:
    """What distribution stored as sha256 and linked as sha512 is served by sha512."""
    hold_blob(volume, CONTENT)
    put(layout.layer_link(ALPINE, SHA512), str(DIGEST).encode())

    assert await volume.stat_blob(NGINX, SHA512) is None
    assert await volume.stat_blob(ALPINE, SHA512) == len(CONTENT)
    assert await volume.stat_blob(ALPINE, SHA512) == len(CONTENT)
    assert read_blob(volume, SHA512) == CONTENT
    assert layout.blob(SHA512).samefile(layout.blob(DIGEST))


async def test_a_false_alias_is_not_believed(volume: FilesystemStore, layout: Layout) -> None:
    """A link says where to look, not what is there: other bytes are not served."""
    other = hold_blob(volume, b"other")
    put(layout.layer_link(ALPINE, SHA512), str(other).encode())
    assert await volume.stat_blob(ALPINE, SHA512) is None
    assert volume.open_blob(SHA512) is None

    put(layout.layer_link(NGINX, SHA512), str(Digest.of(b"not held")).encode())
    assert await volume.stat_blob(NGINX, SHA512) is None


async def test_a_manifest_stored_under_its_sha256_is_found(
    volume: FilesystemStore, layout: Layout
) -> None:
    """A revision link may name another algorithm; the bytes must still be right."""
    digest = Digest.of(MANIFEST, "sha512")
    put(layout.blob(MANIFEST_DIGEST), MANIFEST)
    put(layout.revision_link(ALPINE, digest), str(MANIFEST_DIGEST).encode())
    put(layout.revision_link(NGINX, SHA512), str(MANIFEST_DIGEST).encode())
    assert await volume.read_manifest(ALPINE, digest) == MANIFEST
    assert await volume.read_manifest(NGINX, SHA512) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_damaged_referrers_are_absent(
    volume: FilesystemStore, layout: Layout, damage: bytes
) -> None:
    """A kept document that is no JSON is as good as none."""
    put(layout.referrers(ALPINE, DIGEST), damage)
    assert await volume.read_referrers(ALPINE, DIGEST) is None


async def test_an_open_blob_outlives_its_replacement(volume: FilesystemStore) -> None:
    """A reader keeps its bytes while the same blob is committed again."""
    hold_blob(volume, CONTENT)
    held = volume.open_blob(DIGEST)
    assert held is not None
    hold_blob(volume, CONTENT)
    with held.file:
        assert held.file.read() == CONTENT


async def test_writers_of_one_repository_do_not_disturb_each_other(
    volume: FilesystemStore, layout: Layout
) -> None:
    """Many writes at once, of the same and of different things, all arrive whole."""
    manifests = [f'{{"number": {number}}}'.encode() for number in range(8)] * 2
    for write in (
        lambda each: volume.write_manifest(ALPINE, Digest.of(each), each),
        lambda each: volume.write_tag(ALPINE, LATEST, Digest.of(each), 0.0),
    ):
        await asyncio.gather(*map(write, manifests))
    for each in manifests:
        assert await volume.read_manifest(ALPINE, Digest.of(each)) == each
    held = await volume.resolve_tag(ALPINE, LATEST)
    assert held in [HeldTag(Digest.of(each), 0.0) for each in manifests]
    assert not [name for name in files_below(layout.root) if name.endswith(".tmp")]


async def test_a_root_that_is_a_file_fails_the_check(tmp_path: Path) -> None:
    """The check tells a volume that can never work from one that is merely new."""
    with pytest.raises(StorageUnavailableError, match="Not a directory"):
        await FilesystemStore(put(tmp_path / "file", b"")).check()
    with pytest.raises(StorageUnavailableError):
        await FilesystemStore(tmp_path / "file/below").check()


async def test_writes_below_a_file_are_errors_of_the_store(tmp_path: Path) -> None:
    """Every write translates what the system says; reads take it for absence."""
    store = FilesystemStore(put(tmp_path / "file", b""))
    for write in (
        store.link_blob(ALPINE, DIGEST),
        store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST),
        store.write_tag(ALPINE, LATEST, DIGEST, 0.0),
        store.write_referrers(ALPINE, DIGEST, b"{}"),
    ):
        with pytest.raises(StorageUnavailableError):
            await write
    assert await store.stat_blob(ALPINE, DIGEST) is None
    assert await store.list_repositories(after=None, limit=1) == []


async def test_a_full_disk_damages_nothing(small_volume: Path) -> None:
    """When space runs out mid-write, what was held stays whole and no part of the new shows."""
    store = FilesystemStore(small_volume)
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    before = files_below(small_volume)
    large = b"[" + b" " * 300_000 + b"]"
    with pytest.raises(StorageFullError):
        await store.write_manifest(ALPINE, Digest.of(large), large)
    assert files_below(small_volume) == before

    (small_volume / "ballast").write_bytes(bytes(180_000))
    with closing(store.partial_blob(Digest.of(large))) as partial:
        with pytest.raises(StorageError):
            partial.write(large)
        partial.discard()
    assert await store.read_manifest(ALPINE, MANIFEST_DIGEST) == MANIFEST


async def test_every_action_is_timed(layout: Layout) -> None:
    """Each action is observed under distribution's name for it."""
    seen: list[Event] = []
    ticks = count(step=0.25)
    store = FilesystemStore(layout.root, observer=seen.append, clock=lambda: next(ticks))

    hold_blob(store, CONTENT, ALPINE)
    await store.stat_blob(ALPINE, DIGEST)
    assert read_blob(store, DIGEST) == CONTENT
    await store.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    await store.list_tags(ALPINE)
    await store.remove_stale_partials()

    names = ["Move", "Stat", "GetContent", "PutContent", "List", "Delete"]
    assert seen == [StorageTimed(name, 0.25) for name in names]


async def test_a_link_is_written_after_what_it_leads_to(
    volume: FilesystemStore, layout: Layout
) -> None:
    """A step that fails leaves the later ones undone: data, then link; history, then current."""
    other = Digest.of(b"{}")
    await volume.write_manifest(ALPINE, other, b"{}")
    put(layout.blob(MANIFEST_DIGEST).parent, b"a file in the way")
    put(layout.tag_index_link(ALPINE, LATEST, other).parent, b"another")
    with pytest.raises(StorageUnavailableError):
        await volume.write_manifest(ALPINE, MANIFEST_DIGEST, MANIFEST)
    with pytest.raises(StorageUnavailableError):
        await volume.write_tag(ALPINE, LATEST, other, 0.0)
    assert not await volume.has_manifest(ALPINE, MANIFEST_DIGEST)
    assert await volume.resolve_tag(ALPINE, LATEST) is None


async def test_a_blob_that_cannot_be_linked_is_still_held(
    volume: FilesystemStore, layout: Layout
) -> None:
    """A commit that fails at the link keeps the data, which a discard no longer removes."""
    put(layout.layer_link(ALPINE, DIGEST).parent, b"a file in the way")
    partial = volume.partial_blob(DIGEST)
    partial.write(CONTENT)
    with pytest.raises(StorageUnavailableError):
        partial.commit(frozenset({ALPINE}))
    partial.discard()
    assert await volume.stat_data(DIGEST) == len(CONTENT)
    assert await volume.stat_blob(ALPINE, DIGEST) is None
