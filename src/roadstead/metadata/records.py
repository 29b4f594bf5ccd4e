"""The rows, as values: what the database tells to those who decide.

Times are seconds since the epoch, sizes are bytes. Repositories go by their stored names.
"""

from dataclasses import dataclass
from enum import StrEnum

from roadstead.errors import ManifestInvalidError
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from roadstead.oci.reference import RepositoryName, Tag


@dataclass(frozen=True, slots=True)
class Scope:
    """Which repositories are meant: names that begin with ``prefix`` and with none of ``without``.

    An upstream's repositories have its name and a slash in front (``ghcr.io/``). Those of the
    default upstream have nothing in front: its scope is the empty prefix without all others.
    """

    prefix: str = ""
    without: tuple[str, ...] = ()

    def __contains__(self, repository: str) -> bool:
        """Say whether ``repository`` is meant."""
        return repository.startswith(self.prefix) and not repository.startswith(self.without)


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class BlobUse:
    """Data that a candidate needs and that is held.

    ``holders`` is how many held manifests, of any repository and of this image too, need it; a
    manifest needs its own data. It may go when all of them have gone.
    """

    digest: Digest
    size_bytes: int
    holders: int


@dataclass(frozen=True, slots=True)
class Member:
    """A held manifest that belongs to an image: the top, a child, a referrer, or one of theirs.

    ``images`` is how many tops of the repository it belongs to: it goes with the last of them.
    ``blobs`` is the data it needs and that is held, its own first; each is in the
    candidate's ``blobs``.
    """

    digest: Digest
    images: int
    tags: tuple[Tag, ...]
    blobs: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class EvictionCandidate:
    """An image of one repository: its top manifest and all that goes with it.

    A top is in no held index of its repository and refers to no held manifest of it.
    ``tags`` are those of the top; ``members`` begin with it. ``last_pull`` is the latest of any
    member; ``stored_at`` if none was pulled. ``hits`` are pulls of the top itself.
    """

    repository: RepositoryName
    digest: Digest
    tags: tuple[Tag, ...]
    stored_at: float
    last_pull: float
    hits: int
    members: tuple[Member, ...]
    blobs: tuple[BlobUse, ...]


@dataclass(frozen=True, slots=True)
class Orphan:
    """Held data to which no repository links and that no held manifest needs."""

    digest: Digest
    size_bytes: int
    stored_at: float


@dataclass(frozen=True, slots=True)
class LooseLayer:
    """A layer link of a repository in which no held manifest needs the layer.

    ``size_bytes`` is that of the data, 0 if it is not held.
    """

    repository: RepositoryName
    digest: Digest
    size_bytes: int
    stored_at: float


@dataclass(frozen=True, slots=True)
class Pulls:
    """How one held manifest has been pulled."""

    stored_at: float
    last_pull: float
    hits: int


@dataclass(frozen=True, slots=True)
class Pin:
    """A pattern of images that stay, who asked for it, and when."""

    pattern: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What one upstream's clients got within one hour; ``hour`` is its first second."""

    hour: int
    upstream: str
    requests: int = 0
    hits: int = 0
    served_bytes: int = 0
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PointsAt:
    """What a manifest's document says; ``blobs`` are config and layers."""

    media_type: str
    children: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    subject: Digest | None = None

    @staticmethod
    def read(document: bytes) -> "PointsAt | None":
        """Read a manifest; None if it is none."""
        try:
            parsed = parse_manifest(document)
        except ManifestInvalidError:
            return None
        return PointsAt(
            parsed.media_type,
            children=tuple(child.digest for child in parsed.children),
            blobs=tuple(blob.digest for blob in parsed.blobs),
            subject=parsed.subject.digest if parsed.subject is not None else None,
        )


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """A manifest that is about to be linked; ``points_at`` is None if nobody could read it."""

    repository: RepositoryName
    digest: Digest
    size_bytes: int
    stored_at: float
    points_at: PointsAt | None


@dataclass(frozen=True, slots=True)
class RemovedRows:
    """Links and data that were removed from the volume."""

    tags: tuple[tuple[RepositoryName, Tag], ...] = ()
    manifests: tuple[tuple[RepositoryName, Digest], ...] = ()
    layers: tuple[tuple[RepositoryName, Digest], ...] = ()
    data: tuple[Digest, ...] = ()


class Condition(StrEnum):
    """How far the database can be relied on."""

    OPENING = "opening"
    """Not open yet; what is written meanwhile waits in memory."""
    WHOLE = "whole"
    """Has a row for every link: lists and eviction may rely on it."""
    BEHIND = "behind"
    """Links were written without their rows; a rebuild is due."""
    REBUILDING = "rebuilding"
    """Being compared with the layout."""
    FAILED = "failed"
    """Cannot be opened or written; is tried again."""


@dataclass(frozen=True, slots=True)
class MetadataStatus:
    """How the database stands; the counts of rows are None while nobody has counted them.

    ``progress`` of a rebuild is from 0 to 1.
    """

    condition: Condition
    progress: float | None = None
    repositories: int | None = None
    manifests: int | None = None
    blobs: int | None = None
    held_bytes: int | None = None
