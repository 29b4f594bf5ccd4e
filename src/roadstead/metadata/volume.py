"""What a rebuild needs to see of the layout; roadstead.storage.walk shows it.

Every method reads the disk and blocks. What is damaged is left out, as a reader would.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag


class HeldLink(Protocol):
    """A link of a repository: under which digest the content lies, and since when it is there."""

    @property
    def source(self) -> Digest:
        """The digest in the link: nearly always that of its path."""

    @property
    def stored_at(self) -> float:
        """Modification time."""


class HeldTagLink(Protocol):
    """A tag's current link."""

    @property
    def digest(self) -> Digest:
        """What the tag points at."""

    @property
    def stored_at(self) -> float:
        """Modification time."""


class HeldRepository(Protocol):
    """All links of one repository."""

    @property
    def name(self) -> RepositoryName:
        """Its stored name."""

    @property
    def manifests(self) -> Mapping[Digest, HeldLink]:
        """Links to manifests."""

    @property
    def layers(self) -> Mapping[Digest, HeldLink]:
        """Links to layers and configs."""

    @property
    def tags(self) -> Mapping[Tag, HeldTagLink]:
        """What its tags point at."""


class HeldData(Protocol):
    """A data file."""

    @property
    def digest(self) -> Digest:
        """Its name."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def stored_at(self) -> float:
        """Modification time."""


class Volume(Protocol):
    """A layout, seen from outside."""

    def data(self) -> Iterator[tuple[float, str, Sequence[HeldData]]]:
        """Walk over all data: the progress from 0 to 1, a prefix, all whose digests begin so.

        Together the prefixes leave no digest out.
        """

    def repositories(self) -> Iterator[tuple[float, HeldRepository]]:
        """Walk over all repositories in distribution's order, with the progress of the walk."""

    def read_manifest(self, digest: Digest, source: Digest) -> bytes | None:
        """Return the manifest ``digest`` that lies under ``source``, hashed and found right."""

    def last_change(self) -> float:
        """Return when the volume last changed, as far as a few hundred directories tell."""

    def appearance(self) -> str:
        """Return a text that is the same as long as those directories are."""
