"""What the mirror asks of an upstream, as a protocol with its contract in words.

Every failure is an UpstreamError or an UnknownContentError; time-outs bound every wait.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName


@dataclass(frozen=True, slots=True)
class ManifestHead:
    """What a HEAD of a manifest told; each part may be missing (registries differ)."""

    digest: Digest | None
    media_type: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest as upstream sent it; ``descriptor.digest`` was computed from the bytes."""

    descriptor: Descriptor
    content: bytes


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of tags, and whether upstream says that there are more."""

    tags: list[str]
    has_more: bool


class BlobTransfer(Protocol):
    """One open transfer of a blob, used from one thread only, but for ``abort``; methods block."""

    @property
    def start(self) -> int:
        """Offset in bytes at which upstream really began: as asked, or 0."""

    @property
    def size_bytes(self) -> int | None:
        """Size of the whole blob, if upstream told."""

    def read(self) -> bytes:
        """Return what has arrived, at most 512 KiB, never waiting for more; empty at the end.

        Raises:
            UpstreamError: the connection broke, stalled, or ended before its time.
        """

    def close(self) -> None:
        """Let go of the connection. Idempotent."""

    def abort(self) -> None:
        """Make a blocked ``read`` fail soon, from another thread; the process is stopping."""


class Upstream(Protocol):
    """One upstream registry."""

    @property
    def name(self) -> str:
        """Its configured name, for metrics."""

    @property
    def host(self) -> str:
        """Host (and port) of the registry, as it stands in messages."""

    async def head_manifest(
        self, repository: RepositoryName, reference: Reference
    ) -> ManifestHead | None:
        """Ask for a manifest's digest; None where upstream refuses HEAD or says nothing useful.

        Raises:
            ManifestUnknownError: upstream answered 404.
            UpstreamError: it did not answer, or said no.
        """

    async def get_manifest(
        self, repository: RepositoryName, reference: Reference
    ) -> FetchedManifest:
        """Fetch a manifest, verified if asked for by digest.

        Raises:
            ManifestUnknownError: there is none.
            ContentError: the bytes are not what was asked for, no manifest, or too large.
            UpstreamError: upstream did not answer, or said no.
        """

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        """Confirm that ``repository`` has the blob; its size in bytes, None if not told.

        By HEAD, or by GET of the first byte where HEAD is refused. Never downloads.

        Raises:
            BlobUnknownError: there is none, or it is a manifest.
            UpstreamError: upstream did not answer, or said no.
        """

    def open_blob(
        self, repository: RepositoryName, digest: Digest, offset: int, *, stop: int | None = None
    ) -> BlobTransfer:
        """Begin a transfer at ``offset``; blocks, belongs in a thread.

        An upstream without Range support begins at 0 whatever was asked; see
        ``BlobTransfer.start``. With ``stop`` only the bytes before it are transferred.

        Raises:
            BlobUnknownError: there is none, or it is a manifest.
            UpstreamProtocolError: with ``stop``, upstream answered with another part, or the whole.
            UpstreamError: upstream did not answer, or said no.
        """

    def stop_transfers(self) -> None:
        """Open no transfer any more, and end every opening that waits; the process is stopping.

        Transfers that are open go on. Callable from any thread. Idempotent.
        """

    def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        """Pass one byte range through, unverified; ``last`` is inclusive, None is the end.

        Gives None where upstream does not answer with exactly that range.
        """

    async def list_tags(
        self, repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagPage:
        """List tags, at most ``limit``, behind ``after``.

        Raises:
            RepositoryUnknownError: there is no such repository.
            UpstreamError: upstream did not answer, or said no.
        """

    async def list_referrers(
        self, repository: RepositoryName, subject: Digest
    ) -> list[dict[str, Any]] | None:
        """List the descriptors of all manifests that refer to ``subject``, over all pages.

        None where upstream does not have the referrers API.

        Raises:
            UpstreamError: upstream did not answer, or said no.
        """
