"""What the database does for the rest of the program, as a protocol with its contract in words.

The rows are a superset of the links on disk: a row is committed before its link is written, and
forgotten after its link is removed. So whoever removes data that no row needs removes nothing
that a link needs, as long as the database is whole.

A database in trouble harms nobody: reads and forgets raise MetadataError, which callers answer
by the layout or by waiting; a record fails only if not even a mark can be
left that says that rows are missing; then its link must not be written.
"""

from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Final, Protocol

from roadstead.metadata.records import (
    EVERYTHING,
    EvictionCandidate,
    LooseLayer,
    ManifestRecord,
    MetadataStatus,
    Orphan,
    Pin,
    Pulls,
    RemovedRows,
    Scope,
    Totals,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag

LOG_BYTES: Final = 4 * 1024 * 1024
"""How large the database's log grows before it is taken in, and begun anew in the same place."""


class Recorder(Protocol):
    """Notes links before they are written; a future is done when the row is committed.

    What cannot be noted is noted as missing, by a mark, so that a rebuild follows.
    """

    def record_manifest(self, manifest: ManifestRecord) -> Future[None]:
        """Note a manifest, its data, and what it points at."""

    def record_tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> Future[None]:
        """Note what a tag points at."""

    def record_layer(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None, stored_at: float
    ) -> Future[None]:
        """Note a layer or config of a repository, and its data if that is held (a size)."""

    def record_data(self, digest: Digest, size_bytes: int, stored_at: float) -> Future[None]:
        """Note held data, whoever links to it."""

    def record_removal(self, removed: RemovedRows) -> Future[None]:
        """Forget what was removed, while nobody can write a link."""


class Pulled(Protocol):
    """Takes note of pulls; never blocks, and may lose the last seconds in a crash."""

    def touch(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Note that a client pulled this manifest; its image counts as pulled."""


class Metadata(Recorder, Pulled, Protocol):
    """All of it. Every ``async`` method raises MetadataError when the database cannot answer."""

    async def status(self) -> MetadataStatus:
        """Say how the database stands; never raises."""

    async def is_whole(self) -> bool:
        """Say whether there is a row for every link. Asked before each plan and each batch."""

    def candidates(self, scope: Scope = EVERYTHING) -> AsyncIterator[EvictionCandidate]:
        """Yield all images, least recently pulled first, read page by page.

        What is forgotten or pulled meanwhile may still come as it was; each step is
        validated when it is done.
        """

    def images(self, repository: RepositoryName) -> AsyncIterator[EvictionCandidate]:
        """Yield the images of one repository, least recently pulled first."""

    def orphans(self) -> AsyncIterator[Orphan]:
        """Yield held data to which no repository links and that no held manifest needs."""

    def loose_layers(self, scope: Scope = EVERYTHING) -> AsyncIterator[LooseLayer]:
        """Yield layer links that no held manifest of their repository needs."""

    async def holders(self, digest: Digest) -> int:
        """Count the held manifests, of any repository, that need this data now."""

    async def used_bytes(self, scope: Scope = EVERYTHING) -> int:
        """Sum up held data, each once; of a scope, what its repositories link to.

        Everything is one look-up; a part has to be summed up.
        """

    async def forget_tag(self, repository: RepositoryName, tag: Tag) -> None:
        """Forget a tag, after its links were removed. Idempotent, as the others are."""

    async def forget_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        """Forget a repository's manifest, not its data."""

    async def forget_layer(self, repository: RepositoryName, digest: Digest) -> None:
        """Forget a repository's layer, not its data."""

    async def forget_data(self, digest: Digest) -> None:
        """Forget data, after its file was removed."""

    async def pulls(self, repository: RepositoryName, digest: Digest) -> Pulls | None:
        """Tell how a held manifest has been pulled; None if it is not held."""

    async def seed_pull(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Take a time of last pull from elsewhere; an earlier one than is known is ignored."""

    async def flush(self) -> None:
        """Write now what is noted of pulls, so that it is seen."""

    async def pins(self) -> list[Pin]:
        """List the pins, by pattern."""

    async def add_pin(self, pattern: str, by: str, at: float) -> None:
        """Pin what matches ``pattern``; one that exists stays as it is."""

    async def remove_pin(self, pattern: str) -> bool:
        """Remove a pin; False if there was none."""

    async def list_repositories(self, *, after: str | None, limit: int) -> list[RepositoryName]:
        """Return up to ``limit`` names behind ``after``, compared component by component."""

    async def list_tags(
        self, repository: RepositoryName, *, after: str | None = None, limit: int | None = None
    ) -> list[Tag] | None:
        """Return tags in byte order; None if the repository is not held at all."""

    async def hourly_totals(self, *, since: int) -> list[Totals]:
        """Return the totals of all hours from ``since`` on, oldest first."""
