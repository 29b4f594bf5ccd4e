"""What the mirror does when something is removed from its store."""

from contextlib import closing
from pathlib import Path

import pytest

from roadstead.errors import BlobUnknownError, ManifestUnknownError
from roadstead.mirror.deletions import Deletions
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.runtime.removals import following_removals
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.storage.base import Removed, RemovedLayerLink
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.events import Outcome
from tests.support.rig import APP, Rig, make_rig, read_all

LATEST = Tag("latest")


async def test_what_was_removed_is_fetched_again(rig: Rig) -> None:
    """After all of an image was removed, and its memory forgotten, a pull fetches it anew."""
    image = rig.upstream.add_image(APP, tag=LATEST)
    await rig.hold(image)
    removed: list[Removed] = []
    rig.store.on_removal(lambda _at, batch: removed.extend(batch))
    with rig.store.removing() as removal:
        removal.remove_tag(APP, LATEST)
        removal.remove_manifest(APP, image.manifest_digest)
        for blob in image.blobs:
            removal.remove_layer_link(APP, blob.digest)
            removal.remove_data(blob.digest)
        removal.remove_data(image.manifest_digest)
    rig.mirrors.forget(removed)

    assert (await rig.mirror.manifest(APP, LATEST)).outcome is Outcome.MISS
    for blob in image.blobs:
        reader = await rig.mirror.blob(APP, blob.digest)
        assert await read_all(reader) == blob.read()
        assert reader.outcome is Outcome.MISS


async def test_a_link_that_was_removed_is_no_access(rig: Rig) -> None:
    """A forgotten link needs upstream's word again, though the data is still there."""
    image = rig.upstream.add_image(APP, tag=LATEST)
    await rig.hold(image)
    digest = image.blobs[0].digest
    with rig.store.removing() as removal:
        removal.remove_layer_link(APP, digest)
    rig.mirrors.forget([RemovedLayerLink(APP, digest)])
    rig.upstream.inject(faults.Status(404), kind=RequestKind.BLOB)
    with pytest.raises(BlobUnknownError):
        await rig.mirror.blob(APP, digest)


async def test_what_another_process_removed_is_noticed(rig: Rig) -> None:
    """A tag that moves to what is in memory alone is stored again, manifest and all."""
    old = rig.upstream.add_image(APP, tag=LATEST)
    await rig.hold(old)
    other = FilesystemStore(rig.root)
    with other.removing() as removal:
        removal.remove_tag(APP, LATEST)
        removal.remove_manifest(APP, old.manifest_digest)
        removal.remove_data(old.manifest_digest)
    rig.upstream.move_tag(APP, "again", old.manifest_digest)

    assert (await rig.mirror.manifest(APP, Tag("again"))).descriptor.digest == old.manifest_digest
    assert await rig.store.read_manifest(APP, old.manifest_digest) is not None
    assert rig.store.others_have_removed()
    rig.mirrors.forget_all()
    assert (await rig.mirror.manifest(APP, LATEST)).descriptor.digest == old.manifest_digest
    assert await rig.store.resolve_tag(APP, LATEST) is not None


async def test_a_blob_that_vanished_is_fetched_again(rig: Rig) -> None:
    """Data removed behind our back, its link still known: the next request heals it."""
    image = rig.upstream.add_image(APP, tag=LATEST)
    await rig.hold(image)
    digest = image.blobs[-1].digest
    with FilesystemStore(rig.root).removing() as removal:
        removal.remove_data(digest)

    reader = await rig.mirror.blob(APP, digest)
    assert await read_all(reader) == image.blobs[-1].read()
    assert reader.outcome is Outcome.MISS


async def test_blobs_in_use_are_known(rig: Rig) -> None:
    """A blob is in use while it arrives and while anybody reads it, and not afterwards."""
    image = rig.upstream.add_image(APP, tag=LATEST)
    digest = image.blobs[0].digest
    assert not rig.mirrors.is_in_use(digest)
    with closing(await rig.mirror.blob(APP, digest)):
        assert rig.mirrors.is_in_use(digest)
    await rig.landed()
    assert not rig.mirrors.is_in_use(digest)
    first, second = [await rig.mirror.blob(APP, digest) for _ in range(2)]
    first.close()
    first.close()
    assert rig.mirrors.is_in_use(digest)
    second.close()
    assert not rig.mirrors.is_in_use(digest)


class _RacedStore(FilesystemStore):
    """A store from which somebody deletes what was just written, or just looked at."""

    racing = False

    async def write_manifest(
        self, repository: RepositoryName, digest: Digest, content: bytes
    ) -> None:
        await super().write_manifest(repository, digest, content)
        if self.racing:
            await Deletions(self).manifest(repository, digest)

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        size = await super().stat_blob(repository, digest)
        if self.racing:
            await Deletions(self).blob(repository, digest)
        return size


async def test_a_manifest_deleted_while_it_arrives_is_forgotten(tmp_path: Path) -> None:
    """Memory does not hold what was deleted between its writing and its answer."""
    store = _RacedStore(tmp_path)
    async with make_rig(tmp_path, store=store) as rig, following_removals(store, rig.mirrors):
        digest = rig.upstream.add_image(APP, tag=LATEST).manifest_digest
        store.racing = True
        await rig.mirror.manifest(APP, digest)
        store.racing = False

        assert (await rig.mirror.manifest(APP, digest)).outcome is Outcome.MISS


async def test_a_blob_deleted_while_it_is_looked_at_is_forgotten(tmp_path: Path) -> None:
    """Memory does not hold a link that was removed since it was read."""
    store = _RacedStore(tmp_path)
    async with make_rig(tmp_path, store=store) as rig, following_removals(store, rig.mirrors):
        image = rig.upstream.add_image(APP, tag=LATEST)
        await rig.hold(image)
        rig.mirrors.forget_all()
        digest = image.blobs[0].digest
        store.racing = True
        await read_all(await rig.mirror.blob(APP, digest))
        store.racing = False
        rig.upstream.inject(faults.Status(404), kind=RequestKind.BLOB)

        with pytest.raises(BlobUnknownError):
            await rig.mirror.blob(APP, digest)


async def test_what_memory_alone_holds_is_deleted_too(rig: Rig) -> None:
    """A manifest that the store could not take is gone when somebody deletes it."""
    digest = rig.upstream.add_image(APP, tag=LATEST).manifest_digest
    await rig.mirror.manifest(APP, LATEST)
    with FilesystemStore(rig.root).removing() as removal:
        removal.remove_tag(APP, LATEST)
        removal.remove_manifest(APP, digest)
    deletions = Deletions(rig.store, forget=rig.mirrors.forget)

    for reference in (LATEST, digest):
        with pytest.raises(ManifestUnknownError):
            await deletions.manifest(APP, reference)
        assert (await rig.mirror.manifest(APP, reference)).outcome is not Outcome.HIT
        with FilesystemStore(rig.root).removing() as removal:
            removal.remove_tag(APP, LATEST)
            removal.remove_manifest(APP, digest)
