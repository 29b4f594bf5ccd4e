"""All mirrors of one process: the only thing the server talks to."""

from collections.abc import Iterable, Mapping

from roadstead.errors import (
    NamespaceUnknownError,
    RepositoryDeniedError,
    RepositoryUnknownError,
)
from roadstead.mirror.explain import Explanation, denied, explain, split_reference
from roadstead.mirror.flight import FlightReport, Flights
from roadstead.mirror.inuse import BlobsInUse
from roadstead.mirror.mirror import Mirror
from roadstead.mirror.routing import Destination, Hints, Router
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import Catalog, Linker, Removed, Store


class Mirrors:
    """Finds the mirror that a request is for."""

    def __init__(
        self,
        *,
        router: Router,
        mirrors: Mapping[str, Mirror],
        flights: Flights,
        store: Store,
        in_use: BlobsInUse | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        """``mirrors`` has one entry for each upstream of ``router``, by configured name.

        ``in_use`` is what all of them tell of their readers; ``catalog`` lists what is held, in
        place of the store.
        """
        self._router = router
        self._mirrors = mirrors
        self._flights = flights
        self._store = store
        self._in_use = in_use or BlobsInUse()
        self._catalog = catalog or store

    def knows(self, name: str) -> bool:
        """Say whether an upstream goes by this name."""
        return self._router.knows(name)

    def find(self, repository: RepositoryName, hints: Hints) -> tuple[Mirror, Destination]:
        """Return the mirror of a repository as the client named it, and why; see Router.route."""
        destination = self._router.route(repository, hints)
        return self._mirrors[destination.upstream], destination

    def owner(self, stored: RepositoryName) -> tuple[str, str]:
        """Return the upstream of a repository that is held, and its name there."""
        return self._router.owner(stored)

    async def fetch_again(self, linker: Linker) -> None:
        """Fetch what a repository links to and whose data is gone.

        Raises:
            RoadsteadError: upstream did not give it, or the store cannot take it.
        """
        upstream, _ = self._router.owner(linker.repository)
        mirror = self._mirrors[upstream]
        if linker.is_manifest:
            await mirror.manifests.restore(linker.repository, linker.digest)
        else:
            await mirror.restore_blob(linker.repository, linker.digest)

    async def explain(self, text: str) -> Explanation:
        """Say what would become of a pull of ``text``, such as ``ghcr.io/org/app:1.0``.

        Asks no upstream.

        Raises:
            InvalidReferenceError: the text is no reference.
            StorageError: the store failed.
        """
        registry, repository, reference = split_reference(text)
        try:
            mirror, destination = self.find(repository, Hints(namespace=registry))
        except (NamespaceUnknownError, RepositoryDeniedError, RepositoryUnknownError) as error:
            return denied(text, error)
        return await explain(
            text,
            manifests=mirror.manifests,
            store=self._store,
            repository=destination.repository,
            reference=reference,
            upstream=destination.upstream,
            by=destination.by,
        )

    def is_in_use(self, digest: Digest) -> bool:
        """Say whether a blob is arriving or being served; callable from any thread."""
        return digest in self._in_use or self._flights.get(digest) is not None

    def in_use(self) -> list[Digest]:
        """List the blobs that are arriving or being served; on the event loop."""
        return [*self._in_use.digests(), *(Digest.parse(one.digest) for one in self.running())]

    def pulling_since(self) -> Mapping[RepositoryName, float]:
        """Say since when blobs have been arriving for each repository; see Flights."""
        return self._flights.pulling_since()

    def forget(self, removed: Iterable[Removed]) -> None:
        """Forget what was removed from the store; on the event loop."""
        for one in removed:
            for mirror in self._mirrors.values():
                mirror.forget(one)

    def forget_all(self) -> None:
        """Forget what is in memory of the store: another process has removed something."""
        for mirror in self._mirrors.values():
            mirror.forget_all()

    def running(self) -> list[FlightReport]:
        """Describe the fetches that are under way."""
        return self._flights.reports()

    async def landed(self) -> None:
        """Wait until the fetches that are under way now have ended."""
        await self._flights.landed()

    async def list_repositories(self, *, limit: int, after: str | None) -> list[RepositoryName]:
        """List the repositories that are held, of all upstreams, by stored name."""
        return await self._catalog.list_repositories(after=after, limit=limit)

    async def aclose(self) -> None:
        """Stop all work; partial downloads stay on disk, to be resumed."""
        for mirror in self._mirrors.values():
            await mirror.stop_asking()
        await self._flights.aclose()
        for mirror in self._mirrors.values():
            mirror.close()
