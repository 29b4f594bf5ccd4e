"""Removing single things from the mirror at a client's wish; upstream never hears of it.

As in distribution a link goes, and the data stays for the garbage collector: another repository
may need it. The next pull fetches again what was deleted here.
"""

import asyncio
from collections.abc import Callable, Sequence

from roadstead.errors import BlobUnknownError, ManifestUnknownError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.storage.base import RemovalStore, Removed, RemovedManifest, RemovedTag
from roadstead.storage.boundary import storage_errors


class Deletions:
    """Deletes from a store; repositories go by their stored names."""

    def __init__(
        self, store: RemovalStore, *, forget: Callable[[Sequence[Removed]], None] = lambda _: None
    ) -> None:
        """``forget`` hears of each wish: memory may hold what the store could not take."""
        self._store = store
        self._forget = forget

    async def manifest(self, repository: RepositoryName, reference: Reference) -> None:
        """Delete a tag alone, or a manifest with all tags that point at it.

        Raises:
            ManifestUnknownError: it is not held.
            StorageError: the store failed.
        """
        if isinstance(reference, Digest):
            wished: Removed = RemovedManifest(repository, reference)
        else:
            wished = RemovedTag(repository, reference)
        was_there = await asyncio.to_thread(self._remove_manifest, repository, reference)
        self._forget([wished])
        if not was_there:
            raise ManifestUnknownError(repository, str(reference))

    async def blob(self, repository: RepositoryName, digest: Digest) -> None:
        """Delete a repository's link to a blob.

        Raises:
            BlobUnknownError: the repository has none.
            StorageError: the store failed.
        """
        if not await asyncio.to_thread(self._unlink, repository, digest):
            raise BlobUnknownError(repository, str(digest))

    def _remove_manifest(self, repository: RepositoryName, reference: Reference) -> bool:
        with storage_errors("deleting"), self._store.removing() as removal:
            if not isinstance(reference, Digest):
                return removal.untag(repository, reference)
            for tag in self._store.walk.tags(repository):
                if tag.current == reference:
                    removal.untag(repository, tag.tag)
            return removal.remove_manifest(repository, reference)

    def _unlink(self, repository: RepositoryName, digest: Digest) -> bool:
        with storage_errors("deleting"), self._store.removing() as removal:
            return removal.remove_layer_link(repository, digest)
