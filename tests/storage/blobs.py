"""Short ways to fill a store in tests."""

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.base import Store

ALPINE = RepositoryName("library/alpine")
NGINX = RepositoryName("library/nginx")
LATEST = Tag("latest")


def hold_blob(
    store: Store, content: bytes, *repositories: RepositoryName, algorithm: str = "sha256"
) -> Digest:
    """Put a blob into a store, whole, and link it."""
    digest = Digest.of(content, algorithm)
    partial = store.partial_blob(digest)
    partial.write(content)
    partial.commit(frozenset(repositories))
    return digest


def read_blob(store: Store, digest: Digest) -> bytes | None:
    """Read held data."""
    held = store.open_blob(digest)
    if held is None:
        return None
    with held.file:
        content = held.file.read()
    assert len(content) == held.size_bytes
    return content
