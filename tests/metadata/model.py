"""What the database should say, worked out in plain Python from sets and dictionaries."""

from dataclasses import dataclass, field

from roadstead.metadata.records import (
    BlobUse,
    EvictionCandidate,
    LooseLayer,
    ManifestRecord,
    Member,
    Orphan,
    PointsAt,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag


def digest_of(name: str) -> Digest:
    """Return the digest that stands for ``name``."""
    return Digest.of(name.encode())


def size_of(name: str) -> int:
    """Return a size that tells names apart."""
    return 1 + sum(name.encode()) % 1000


BLOBS = tuple(f"blob{number}" for number in range(5))

# An ordinary image, one that shares layers, indexes that share an image, an index of an index,
# a referrer of an image, one of an index, and a referrer of that referrer.
DOCUMENTS = {
    "image0": PointsAt("image", blobs=tuple(map(digest_of, ("blob0", "blob1")))),
    "image1": PointsAt("image", blobs=tuple(map(digest_of, ("blob1", "blob2")))),
    "image2": PointsAt("image", blobs=(digest_of("blob3"),)),
    "index0": PointsAt("index", children=tuple(map(digest_of, ("image0", "image1")))),
    "index1": PointsAt("index", children=tuple(map(digest_of, ("image1", "image2")))),
    "outer": PointsAt("index", children=(digest_of("index0"),)),
    "signature": PointsAt("image", blobs=(digest_of("blob4"),), subject=digest_of("image0")),
    "bill": PointsAt("image", subject=digest_of("index0")),
    "countersignature": PointsAt("image", subject=digest_of("signature")),
}
NAMES = {digest_of(name): name for name in (*BLOBS, *DOCUMENTS)}


@dataclass
class Row:
    """A held manifest."""

    stored_at: float
    last_pull: float
    hits: int = 0


@dataclass
class Model:
    """All links and data, by name."""

    manifests: dict[tuple[str, str], Row] = field(default_factory=dict)
    layers: dict[tuple[str, str], float] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    data: dict[str, float] = field(default_factory=dict)

    def record_manifest(self, repository: str, name: str, at: float) -> ManifestRecord:
        """Hold a manifest; return what tells the database so."""
        self.data[name] = at
        row = self.manifests.setdefault((repository, name), Row(at, at))
        row.stored_at = at
        lower = [self.manifests[repository, low].last_pull for low in self.below(repository, name)]
        self.pull(repository, name, max([row.last_pull, *lower]), hits=0)
        return ManifestRecord(
            RepositoryName(repository), digest_of(name), size_of(name), at, DOCUMENTS[name]
        )

    def pull(self, repository: str, name: str, at: float, hits: int = 1) -> None:
        """Note a pull; what is not held is passed over."""
        row = self.manifests.get((repository, name))
        if row is None:
            return
        row.hits += hits
        for one in {name} | self.all_above(repository, name):
            self.manifests[repository, one].last_pull = max(
                self.manifests[repository, one].last_pull, at
            )

    def below(self, repository: str, name: str) -> set[str]:
        """Name what stands directly below a manifest, and is held."""
        return {low for (of, low) in self.manifests if of == repository and name in _above(low)}

    def above(self, repository: str, name: str) -> set[str]:
        """Name what stands directly above a manifest, and is held."""
        return {high for high in _above(name) if (repository, high) in self.manifests}

    def all_above(self, repository: str, name: str) -> set[str]:
        """Name what stands above a manifest."""
        highs = self.above(repository, name)
        return highs.union(*(self.all_above(repository, high) for high in highs))

    def members(self, repository: str, name: str) -> set[str]:
        """Name a manifest and what stands below it."""
        lows = self.below(repository, name)
        return {name}.union(*(self.members(repository, low) for low in lows))

    def holders(self, name: str) -> int:
        """Count the held manifests that need some data."""
        return sum(
            held == name or digest_of(name) in DOCUMENTS[held].blobs for _, held in self.manifests
        )

    def candidates(self) -> list[EvictionCandidate]:
        """Return all images as the database should tell them, members and blobs sorted."""
        tops = [key for key in self.manifests if not self.above(*key)]
        return sorted((self.candidate(*key) for key in tops), key=order)

    def candidate(self, repository: str, top: str) -> EvictionCandidate:
        """Return one image."""
        row = self.manifests[repository, top]
        members = [self.member(repository, name) for name in self.members(repository, top)]
        needed = {digest for member in members for digest in member.blobs}
        return EvictionCandidate(
            repository=RepositoryName(repository),
            digest=digest_of(top),
            tags=self.tags_of(repository, top),
            stored_at=row.stored_at,
            last_pull=row.last_pull,
            hits=row.hits,
            members=tuple(sorted(members, key=lambda member: str(member.digest))),
            blobs=tuple(
                BlobUse(digest, size_of(NAMES[digest]), self.holders(NAMES[digest]))
                for digest in sorted(needed, key=str)
            ),
        )

    def member(self, repository: str, name: str) -> Member:
        """Return one manifest of an image."""
        highest = {name} | self.all_above(repository, name)
        needed = {digest_of(name), *DOCUMENTS[name].blobs}
        return Member(
            digest=digest_of(name),
            images=sum(not self.above(repository, high) for high in highest),
            tags=self.tags_of(repository, name),
            blobs=tuple(sorted((one for one in needed if NAMES[one] in self.data), key=str)),
        )

    def tags_of(self, repository: str, name: str) -> tuple[Tag, ...]:
        """Return the tags that point at a manifest."""
        return tuple(
            sorted(
                Tag(tag) for (of, tag), to in self.tags.items() if (of, to) == (repository, name)
            )
        )

    def orphans(self) -> set[Orphan]:
        """Return data that nothing links to or needs."""
        linked = {name for _, name in self.layers} | {name for _, name in self.manifests}
        return {
            Orphan(digest_of(name), size_of(name), at)
            for name, at in self.data.items()
            if name not in linked and not self.holders(name)
        }

    def loose_layers(self) -> set[LooseLayer]:
        """Return layer links that no manifest of their repository needs."""
        return {
            LooseLayer(
                RepositoryName(of),
                digest_of(name),
                size_of(name) if name in self.data else 0,
                at,
            )
            for (of, name), at in self.layers.items()
            if not any(
                other == of and digest_of(name) in DOCUMENTS[held].blobs
                for other, held in self.manifests
            )
        }

    def repositories(self) -> list[str]:
        """Return all names, component by component in order."""
        names = {of for of, _ in (*self.manifests, *self.layers, *self.tags)}
        return sorted(names, key=lambda name: name.split("/"))

    def used_bytes(self, prefix: str = "") -> int:
        """Sum up data; with a prefix, what is linked by the repositories whose names begin so."""
        if not prefix:
            return sum(map(size_of, self.data))
        links = (*self.manifests, *self.layers)
        linked = {name for of, name in links if of.startswith(prefix)}
        return sum(size_of(name) for name in linked if name in self.data)


def order(candidate: EvictionCandidate) -> tuple[float, str, str]:
    """Give candidates an order of their own where the database promises none."""
    return candidate.last_pull, candidate.repository, str(candidate.digest)


def _above(name: str) -> set[str]:
    """Name all that stands directly above a manifest, held or not."""
    document = DOCUMENTS.get(name)
    if document is None:
        return set()
    highs = {high for high, other in DOCUMENTS.items() if digest_of(name) in other.children}
    return highs | ({NAMES[document.subject]} if document.subject is not None else set())
