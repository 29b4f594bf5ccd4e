"""Removing, and the walks that find what there is to remove."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import (
    HeldTagLinks,
    Removed,
    RemovedData,
    RemovedLayerLink,
    RemovedManifest,
    RemovedTag,
)
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.storage.blobs import ALPINE, LATEST, NGINX, hold_blob, read_blob
from tests.support.volumes import files_below, put

LAYER = b"a layer"
DIGEST = Digest.of(LAYER)
FIRST, SECOND = b'{"schemaVersion": 2}', b'{"schemaVersion": 2, "annotations": {}}'
FIRST_DIGEST, SECOND_DIGEST = Digest.of(FIRST), Digest.of(SECOND)
BELOW = RepositoryName(f"{ALPINE}/below")


@pytest.fixture
async def store(tmp_path: Path) -> FilesystemStore:
    """Give a store with an image whose tag has moved, and a layer that two repositories have."""
    store = FilesystemStore(tmp_path)
    hold_blob(store, LAYER, ALPINE, NGINX)
    for at, content in enumerate((FIRST, SECOND)):
        await store.write_manifest(ALPINE, Digest.of(content), content)
        await store.write_tag(ALPINE, LATEST, Digest.of(content), float(at))
    return store


def _held(root: Path) -> dict[str, bytes]:
    return files_below(root / "docker")


async def test_a_walk_sees_all(store: FilesystemStore) -> None:
    """Repositories, manifests, tags with their history, layers and data are all walked over."""
    walk = store.walk
    assert list(walk.repositories()) == [ALPINE, NGINX]
    assert {link.digest: link.source for link in walk.revisions(ALPINE)} == {
        FIRST_DIGEST: FIRST_DIGEST,
        SECOND_DIGEST: SECOND_DIGEST,
    }
    history = frozenset({FIRST_DIGEST, SECOND_DIGEST})
    assert list(walk.tags(ALPINE)) == [HeldTagLinks(LATEST, SECOND_DIGEST, history, 1.0)]
    for repository in (ALPINE, NGINX):
        assert [link.digest for link in walk.layers(repository)] == [DIGEST]
    assert not list(walk.tags(NGINX))
    assert not list(walk.revisions(NGINX))
    sizes = {DIGEST: len(LAYER), FIRST_DIGEST: len(FIRST), SECOND_DIGEST: len(SECOND)}
    assert {data.digest: data.size_bytes for data in walk.data()} == sizes


def test_a_walk_over_nothing_finds_nothing(tmp_path: Path) -> None:
    """A volume that does not exist is an empty one."""
    walk = FilesystemStore(tmp_path / "missing").walk
    assert not list(walk.repositories())
    assert not list(walk.data())
    assert not list(walk.layers(ALPINE))


async def test_a_walk_passes_over_leftovers_and_tells_of_damage(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """What no digest or tag can be called is passed over; a broken link is told as broken."""
    layout = Layout(tmp_path)
    put(layout.blobs / "sha256/ab/not-a-digest/data", b"x")
    put(layout.blobs / "md5/ab/abcd/data", b"x")
    put(layout.blob(DIGEST).with_name("data.1234.tmp"), b"x")
    put(layout.layers(ALPINE) / "sha256/short/link", b"x")
    put(layout.tags(ALPINE) / ".hidden/current/link", b"x")
    put(layout.repository(NGINX) / "_uploads/1234/data", b"x")
    put(layout.layer_link(ALPINE, DIGEST), b"")
    layout.revision_link(NGINX, FIRST_DIGEST).parent.mkdir(parents=True)
    put(layout.tag_current_link(ALPINE, LATEST), b"sha256:")

    walk = store.walk
    assert {link.source for link in walk.layers(ALPINE)} == {None}
    assert [(link.digest, link.source) for link in walk.revisions(NGINX)] == [(FIRST_DIGEST, None)]
    (tag,) = walk.tags(ALPINE)
    assert (tag.tag, tag.current) == (LATEST, None)
    assert {data.digest for data in walk.data()} == {DIGEST, FIRST_DIGEST, SECOND_DIGEST}


async def test_removing_all_leaves_nothing(store: FilesystemStore, tmp_path: Path) -> None:
    """After the last link and the last data no directory is left, and each step was told."""
    batches: list[Sequence[Removed]] = []
    store.on_removal(lambda _at, removed: batches.append(removed))
    with store.removing() as removal:
        assert removal.remove_tag(ALPINE, LATEST)
        assert removal.remove_manifest(ALPINE, FIRST_DIGEST)
        assert removal.remove_manifest(ALPINE, SECOND_DIGEST)
        assert removal.remove_layer_link(ALPINE, DIGEST)
    assert list(store.walk.repositories()) == [NGINX]
    with store.removing() as removal:
        assert removal.remove_layer_link(NGINX, DIGEST)
        assert removal.remove_data(DIGEST) == len(LAYER)
        assert removal.remove_data(FIRST_DIGEST) == len(FIRST)
        assert removal.remove_data(SECOND_DIGEST) == len(SECOND)

    layout = Layout(tmp_path)
    assert not list(layout.blobs.iterdir())
    assert not list(layout.repositories.iterdir())
    assert batches == [
        [
            RemovedTag(ALPINE, LATEST),
            RemovedManifest(ALPINE, FIRST_DIGEST),
            RemovedManifest(ALPINE, SECOND_DIGEST),
            RemovedLayerLink(ALPINE, DIGEST),
        ],
        [
            RemovedLayerLink(NGINX, DIGEST),
            RemovedData(DIGEST, len(LAYER)),
            RemovedData(FIRST_DIGEST, len(FIRST)),
            RemovedData(SECOND_DIGEST, len(SECOND)),
        ],
    ]


async def test_removing_again_changes_nothing(store: FilesystemStore, tmp_path: Path) -> None:
    """Each step says whether there was something, and may be repeated."""
    batches: list[object] = []
    with store.removing() as removal:
        removal.remove_tag(ALPINE, LATEST)
        removal.remove_data(DIGEST)
    before = _held(tmp_path)
    store.on_removal(lambda _at, removed: batches.append(removed))
    with store.removing() as removal:
        assert not removal.remove_tag(ALPINE, LATEST)
        assert not removal.remove_tag(NGINX, Tag("other"))
        assert not removal.remove_manifest(NGINX, FIRST_DIGEST)
        assert not removal.remove_layer_link(RepositoryName("unknown"), DIGEST)
        assert removal.remove_data(DIGEST) == 0
    assert _held(tmp_path) == before
    assert not batches


async def test_a_manifest_goes_with_its_traces(store: FilesystemStore, tmp_path: Path) -> None:
    """History and kept referrers of a removed manifest go; the tag and other manifests stay."""
    await store.write_referrers(ALPINE, FIRST_DIGEST, b"{}")
    await store.write_referrers(ALPINE, SECOND_DIGEST, b"{}")
    with store.removing() as removal:
        removal.remove_manifest(ALPINE, FIRST_DIGEST)

    (tag,) = store.walk.tags(ALPINE)
    assert tag.current == SECOND_DIGEST
    assert tag.history == {SECOND_DIGEST}
    assert await store.read_manifest(ALPINE, FIRST_DIGEST) is None
    assert await store.read_manifest(ALPINE, SECOND_DIGEST) == SECOND
    assert not Layout(tmp_path).referrers(ALPINE, FIRST_DIGEST).exists()
    assert await store.read_referrers(ALPINE, SECOND_DIGEST) == b"{}"
    assert read_blob(store, FIRST_DIGEST) == FIRST


async def test_a_repository_below_another_outlives_it(store: FilesystemStore) -> None:
    """Pruning stops where something else is held."""
    await store.link_blob(BELOW, DIGEST)
    with store.removing() as removal:
        removal.remove_tag(ALPINE, LATEST)
        removal.remove_manifest(ALPINE, FIRST_DIGEST)
        removal.remove_manifest(ALPINE, SECOND_DIGEST)
        removal.remove_layer_link(ALPINE, DIGEST)
    assert list(store.walk.repositories()) == [BELOW, NGINX]
    assert await store.stat_blob(BELOW, DIGEST) == len(LAYER)


async def test_a_reader_reads_on(store: FilesystemStore) -> None:
    """An open blob outlives its removal."""
    held = store.open_blob(DIGEST)
    assert held is not None
    with store.removing() as removal:
        removal.remove_data(DIGEST)
    assert store.open_blob(DIGEST) is None
    with held.file:
        assert held.file.read() == LAYER


async def test_a_second_name_frees_nothing(store: FilesystemStore, tmp_path: Path) -> None:
    """Data under two names is freed with the second one."""
    sha512 = Digest.of(LAYER, "sha512")
    put(Layout(tmp_path).layer_link(ALPINE, sha512), str(DIGEST).encode())
    assert await store.stat_blob(ALPINE, sha512) == len(LAYER)
    with store.removing() as removal:
        assert removal.remove_data(DIGEST) == 0
        assert sha512 in {data.digest for data in store.walk.data()}
        assert removal.remove_data(sha512) == len(LAYER)


async def test_links_wait_for_a_removal_and_find_no_data(store: FilesystemStore) -> None:
    """Data that goes while a link waits is not linked: the caller hears of it."""
    with store.removing() as removal:
        linking = asyncio.create_task(store.link_blob(BELOW, DIGEST))
        tagging = asyncio.create_task(store.write_tag(ALPINE, Tag("1"), FIRST_DIGEST, 0.0))
        await asyncio.sleep(0)
        removal.remove_data(DIGEST)
        removal.remove_manifest(ALPINE, FIRST_DIGEST)
    assert not await linking
    assert not await tagging
    assert BELOW not in list(store.walk.repositories())
    assert [tag.tag for tag in store.walk.tags(ALPINE)] == [LATEST]


async def test_writers_and_pruning_do_not_meet(store: FilesystemStore) -> None:
    """A repository that is emptied again and again while it is filled loses no write."""

    async def fill() -> None:
        for _ in range(10):
            await store.write_manifest(BELOW, FIRST_DIGEST, FIRST)
            await store.write_referrers(BELOW, FIRST_DIGEST, b"{}")

    def empty() -> None:
        while not filling.done():
            with store.removing() as removal:
                removal.remove_manifest(BELOW, FIRST_DIGEST)
                removal.remove_data(FIRST_DIGEST)

    filling = asyncio.create_task(fill())
    await asyncio.to_thread(empty)
    await filling


async def test_every_link_is_told_to_a_mark(store: FilesystemStore) -> None:
    """Each kind of write that may make something needed is in the journal."""
    other = Digest.of(b"another layer")
    with store.marking() as mark:
        await store.link_blob(BELOW, DIGEST)
        assert mark.linked() == {DIGEST}
        await store.write_manifest(BELOW, FIRST_DIGEST, FIRST)
        assert mark.linked() == {FIRST_DIGEST}
        await store.write_tag(ALPINE, Tag("old"), SECOND_DIGEST, 0.0)
        assert mark.linked() == {SECOND_DIGEST}
        hold_blob(store, b"another layer")
        assert mark.linked() == {other}
