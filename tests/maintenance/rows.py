"""A plain model of what is held, that tells its rows as the metadata database does."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from roadstead.metadata.records import (
    EVERYTHING,
    BlobUse,
    EvictionCandidate,
    LooseLayer,
    Member,
    Orphan,
    Scope,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag

APP = RepositoryName("library/app")
GHCR = RepositoryName("ghcr.io/org/tool")
Key = tuple[RepositoryName, Digest]


def data(name: str) -> Digest:
    """Return the digest of data called ``name``."""
    return Digest.of(name.encode())


@dataclass(slots=True)
class HeldManifest:
    """A manifest of one repository; its own data has the size 1."""

    blobs: frozenset[Digest] = frozenset()
    children: tuple[Digest, ...] = ()
    tags: tuple[Tag, ...] = ()
    stored_at: float = 0.0
    last_pull: float = 0.0


@dataclass
class ModelRows:
    """Manifests by repository and digest, the size of all data, and loose layers."""

    manifests: dict[Key, HeldManifest] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)
    orphaned: list[Orphan] = field(default_factory=list)
    loose: list[LooseLayer] = field(default_factory=list)

    def hold(
        self,
        name: str,
        *,
        repository: RepositoryName = APP,
        blobs: dict[str, int] | None = None,
        children: tuple[Digest, ...] = (),
        tags: tuple[str, ...] = (),
        pulled: float = 0.0,
    ) -> Digest:
        """Hold a manifest called ``name``; returns its digest."""
        digest = data(name)
        sizes = {data(blob): size for blob, size in (blobs or {}).items()}
        self.sizes |= {digest: 1, **sizes}
        self.manifests[repository, digest] = HeldManifest(
            frozenset(sizes), children, tuple(map(Tag, tags)), pulled, pulled
        )
        return digest

    def needs(self, key: Key) -> frozenset[Digest]:
        """Return the data that a manifest needs, its own too."""
        return self.manifests[key].blobs | {key[1]}

    def counts(self) -> Counter[Digest]:
        """Count the manifests that need each data."""
        return Counter(digest for key in self.manifests for digest in self.needs(key))

    def members(self, top: Key) -> list[Key]:
        """List an image's manifests."""
        children = [(top[0], child) for child in self.manifests[top].children]
        return [top, *(key for key in children if key in self.manifests)]

    def tops(self) -> list[Key]:
        """List all images."""
        inside = {key for top in self.manifests for key in self.members(top)[1:]}
        return [key for key in self.manifests if key not in inside]

    def images(self) -> list[EvictionCandidate]:
        """Return all candidates, least recently pulled first."""
        return sorted(
            (self._candidate(top) for top in self.tops()),
            key=lambda one: (one.last_pull, one.repository, str(one.digest)),
        )

    def without(self, images: list[EvictionCandidate]) -> "ModelRows":
        """Return what is held when these images are gone: what no image needs goes too."""
        gone = {(one.repository, one.digest) for one in images}
        kept = {key for top in self.tops() if top not in gone for key in self.members(top)}
        left = ModelRows({key: self.manifests[key] for key in kept})
        left.sizes = {digest: self.sizes[digest] for digest in left.counts()}
        return left

    async def candidates(self, scope: Scope = EVERYTHING) -> AsyncIterator[EvictionCandidate]:
        """See Rows."""
        for one in self.images():
            if one.repository in scope:
                yield one

    async def orphans(self) -> AsyncIterator[Orphan]:
        """See Rows."""
        for one in self.orphaned:
            yield one

    async def loose_layers(self, scope: Scope = EVERYTHING) -> AsyncIterator[LooseLayer]:
        """See Rows."""
        for one in self.loose:
            if one.repository in scope:
                yield one

    async def holders(self, digest: Digest) -> int:
        """See Rows."""
        return self.counts()[digest]

    def _candidate(self, top: Key) -> EvictionCandidate:
        keys = self.members(top)
        counts = self.counts()
        blobs = dict.fromkeys(digest for key in keys for digest in self._listed(key))
        held = self.manifests[top]
        return EvictionCandidate(
            repository=top[0],
            digest=top[1],
            tags=held.tags,
            stored_at=held.stored_at,
            last_pull=max(self.manifests[key].last_pull for key in keys),
            hits=0,
            members=tuple(self._member(key) for key in keys),
            blobs=tuple(BlobUse(one, self.sizes[one], counts[one]) for one in blobs),
        )

    def _member(self, key: Key) -> Member:
        images = sum(key in self.members(top) for top in self.tops())
        return Member(key[1], images, self.manifests[key].tags, tuple(self._listed(key)))

    def _listed(self, key: Key) -> Iterator[Digest]:
        yield key[1]
        yield from sorted(self.manifests[key].blobs, key=str)
