"""Whether a held manifest can be pulled to the end without upstream.

podman, buildah and skopeo fail for good on any blob error once the manifest came from the mirror
(facts/protocol.md 0.1): a manifest whose layers nobody can give is worse than an honest error,
after which the client asks the origin.
"""

from roadstead.errors import ManifestInvalidError
from roadstead.oci.manifest import Manifest, parse_manifest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import Store


async def is_usable(store: Store, repository: RepositoryName, content: bytes) -> bool:
    """Say whether all that the manifest points at is held; of an index, one image of it."""
    manifest = _parse(content)
    if manifest is None:
        return False
    if not manifest.is_index:
        return await _has_blobs(store, repository, manifest)
    for child in manifest.children:
        held = await store.read_manifest(repository, child.digest)
        if held is not None and await is_usable(store, repository, held):
            return True
    # An index without children, as attestations and empty indexes are, needs nothing more.
    return not manifest.children


async def _has_blobs(store: Store, repository: RepositoryName, manifest: Manifest) -> bool:
    for blob in manifest.blobs:
        if await store.stat_blob(repository, blob.digest) is None:
            return False
    return True


def _parse(content: bytes) -> Manifest | None:
    try:
        return parse_manifest(content)
    except ManifestInvalidError:
        return None


async def count_blobs(store: Store, repository: RepositoryName, content: bytes) -> tuple[int, int]:
    """Count the blobs that a manifest, or the held images of an index, point at: held, known."""
    manifest = _parse(content)
    held = known = 0
    for blob in manifest.blobs if manifest is not None else ():
        known += 1
        held += await store.stat_blob(repository, blob.digest) is not None
    for child in manifest.children if manifest is not None else ():
        inner = await store.read_manifest(repository, child.digest)
        if inner is not None:
            of_child = await count_blobs(store, repository, inner)
            held, known = held + of_child[0], known + of_child[1]
    return held, known
