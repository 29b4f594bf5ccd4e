"""Volumes with images in them, written by the store itself."""

import json

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.filesystem import FilesystemStore

APP = RepositoryName("library/app")
OTHER = RepositoryName("library/app/other")


def document(**fields: object) -> bytes:
    """Return a manifest."""
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def descriptor(content: bytes) -> dict[str, object]:
    """Return a descriptor of some content."""
    return {"mediaType": "x/y", "digest": str(Digest.of(content)), "size": len(content)}


class Image:
    """An image with a config and two layers, and an index that contains it."""

    def __init__(self, name: str = "app", shared: bytes = b"the base layer") -> None:
        self.blobs = (f"config of {name}".encode(), f"layer of {name}".encode(), shared)
        config, *layers = map(descriptor, self.blobs)
        self.manifest = document(config=config, layers=layers)
        self.index = document(manifests=[descriptor(self.manifest)])
        self.digest = Digest.of(self.manifest)
        self.top = Digest.of(self.index)


async def hold_blob(store: FilesystemStore, repository: RepositoryName, content: bytes) -> None:
    """Hold a layer or config."""
    partial = store.partial_blob(Digest.of(content))
    partial.write(content[partial.offset :])
    partial.verify()
    partial.commit(frozenset({repository}))
    partial.close()


async def hold(
    store: FilesystemStore, image: Image, repository: RepositoryName = APP, tag: str = "latest"
) -> None:
    """Hold an index, its image and all blobs, and tag it."""
    await store.write_manifest(repository, image.top, image.index)
    await store.write_tag(repository, Tag(tag), image.top, 1_700_000_000.0)
    await store.write_manifest(repository, image.digest, image.manifest)
    for blob in image.blobs:
        await hold_blob(store, repository, blob)
