"""The mirror of one upstream: the only thing the server talks to."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from roadstead.mirror.blobs import Blobs
from roadstead.mirror.content import BlobReader, ServedManifest, TagListing
from roadstead.mirror.flight import Flights
from roadstead.mirror.listings import Listings
from roadstead.mirror.manifests import Manifests
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.telemetry.events import Outcome


class Mirror:
    """Composes manifests, blobs and lists of one upstream, and knows its naming habit."""

    def __init__(
        self,
        *,
        manifests: Manifests,
        blobs: Blobs,
        listings: Listings,
        flights: Flights,
        adds_library: bool,
    ) -> None:
        """``adds_library``: one-component names mean ``library/<name>``, as on Docker Hub."""
        self._manifests = manifests
        self._blobs = blobs
        self._listings = listings
        self._flights = flights
        self._adds_library = adds_library

    def canonical(self, repository: RepositoryName) -> RepositoryName:
        """Return the name under which upstream knows a repository."""
        if self._adds_library and "/" not in repository:
            return RepositoryName(f"library/{repository}")
        return repository

    async def manifest(self, repository: RepositoryName, reference: Reference) -> ServedManifest:
        """Return a manifest; see Manifests for what can go wrong."""
        name = self.canonical(repository)
        if isinstance(reference, Digest):
            return await self._manifests.by_digest(name, reference)
        return await self._manifests.by_tag(name, reference)

    async def blob(self, repository: RepositoryName, digest: Digest) -> BlobReader:
        """Return a reader of a blob; see Blobs."""
        return await self._blobs.open(self.canonical(repository), digest)

    async def stat_blob(
        self, repository: RepositoryName, digest: Digest
    ) -> tuple[int | None, Outcome]:
        """Return a blob's size in bytes and where that is known from; see Blobs."""
        return await self._blobs.stat(self.canonical(repository), digest)

    def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        """Pass a range through from upstream; see Blobs."""
        return self._blobs.stream_range(self.canonical(repository), digest, first, last)

    async def tags(
        self, repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagListing:
        """List tags; see Listings."""
        return await self._listings.tags(self.canonical(repository), limit=limit, after=after)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> list[dict[str, Any]]:
        """List referrers; see Listings."""
        return await self._listings.referrers(self.canonical(repository), subject)

    async def catalog(self, *, limit: int, after: str | None) -> list[RepositoryName]:
        """List the repositories that are held."""
        return await self._listings.catalog(limit=limit, after=after)

    async def aclose(self) -> None:
        """Stop all work; partial downloads stay on disk, to be resumed."""
        await self._manifests.aclose()
        await self._flights.aclose()
