"""The mirror of one upstream."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from roadstead.mirror.blobs import Blobs
from roadstead.mirror.content import (
    BlobReader,
    HeldBlobReader,
    ReferrersListing,
    ServedManifest,
    TagListing,
    wait_whole,
)
from roadstead.mirror.listings import Listings
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.prefetch import Prefetcher
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.storage.base import Removed, RemovedData, RemovedLayerLink, RemovedTag
from roadstead.telemetry.events import Outcome

Pulled: TypeAlias = Callable[[RepositoryName, Digest], None]


def _nobody_counts(_repository: RepositoryName, _digest: Digest) -> None:
    """Take no note of a pull."""


class Mirror:
    """Composes manifests, blobs and lists of one upstream.

    Repositories go by their stored names: with the upstream's name in front, unless it is the
    default one (see routing).
    """

    def __init__(
        self,
        *,
        manifests: Manifests,
        blobs: Blobs,
        listings: Listings,
        pulled: Pulled = _nobody_counts,
        prefetcher: Prefetcher | None = None,
    ) -> None:
        """``pulled`` is called for each manifest that a client gets, or its headers; quickly.

        ``prefetcher`` fetches ahead what belongs to it.
        """
        self._manifests = manifests
        self._blobs = blobs
        self._listings = listings
        self._pulled = pulled
        self._prefetcher = prefetcher

    async def manifest(self, repository: RepositoryName, reference: Reference) -> ServedManifest:
        """Return a manifest; see Manifests for what can go wrong."""
        if isinstance(reference, Digest):
            manifest = await self._manifests.by_digest(repository, reference)
        else:
            manifest = await self._manifests.by_tag(repository, reference)
        self._pulled(repository, manifest.descriptor.digest)
        return manifest

    def manifest_at_hand(
        self, repository: RepositoryName, reference: Reference
    ) -> ServedManifest | None:
        """Return a manifest that can be served at once, and will be; see Manifests."""
        manifest = self._manifests.at_hand(repository, reference)
        if manifest is not None:
            self._pulled(repository, manifest.descriptor.digest)
        return manifest

    def taken(self, repository: RepositoryName, manifest: ServedManifest) -> None:
        """Note that a client gets all of a manifest: it will ask for what that points at."""
        if self._prefetcher is not None:
            self._prefetcher.taken(repository, manifest)

    def blob_at_hand(self, repository: RepositoryName, digest: Digest) -> HeldBlobReader | None:
        """Return a reader of a blob that can be served at once; see Blobs."""
        return self._blobs.at_hand(repository, digest)

    async def blob(self, repository: RepositoryName, digest: Digest) -> BlobReader:
        """Return a reader of a blob; see Blobs."""
        if self._prefetcher is not None:
            self._prefetcher.asked_for(digest)
        return await self._blobs.open(repository, digest)

    async def restore_blob(self, repository: RepositoryName, digest: Digest) -> None:
        """Fetch a blob whose data is gone; returns when its last byte is verified.

        Raises:
            RoadsteadError: as ``blob``, or in the middle.
        """
        reader = await self._blobs.open(repository, digest)
        try:
            await wait_whole(reader)
        finally:
            reader.close()

    async def stat_blob(
        self, repository: RepositoryName, digest: Digest
    ) -> tuple[int | None, Outcome]:
        """Return a blob's size in bytes and where that is known from; see Blobs."""
        return await self._blobs.stat(repository, digest)

    def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        """Pass a range through from upstream; see Blobs."""
        return self._blobs.stream_range(repository, digest, first, last)

    async def tags(
        self, repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagListing:
        """List tags; see Listings."""
        return await self._listings.tags(repository, limit=limit, after=after)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> ReferrersListing:
        """List referrers; see Listings."""
        return await self._listings.referrers(repository, subject)

    def forget(self, removed: Removed) -> None:
        """Forget what was removed from the store."""
        match removed:
            case RemovedTag():
                self._manifests.forget(removed.repository, removed.tag)
            case RemovedLayerLink():
                self._blobs.forget(removed.repository, removed.digest)
            case RemovedData():
                # No map knows data without its repository; opening it finds out.
                pass
            case _:
                self._manifests.forget(removed.repository, removed.digest)

    def forget_all(self) -> None:
        """Forget all that is in memory of the store; requests under way are not disturbed."""
        self._manifests.forget_all()
        self._blobs.forget_all()

    @property
    def manifests(self) -> Manifests:
        """The manifests alone, for explanations."""
        return self._manifests

    async def stop_asking(self) -> None:
        """Cancel running questions; for the end of the process."""
        self._blobs.stop_asking()
        if self._prefetcher is not None:
            await self._prefetcher.aclose()
        await self._blobs.stop_looking()
        await self._manifests.aclose()
        await self._listings.aclose()

    def close(self) -> None:
        """Let the threads go; the flights must have ended."""
        self._blobs.close()
