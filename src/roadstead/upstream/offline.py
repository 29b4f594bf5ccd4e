"""The upstream of ``mirror.offline``: it answers nothing, at once, and nobody is dialled."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

from roadstead.errors import UpstreamUnreachableError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.upstream.base import BlobTransfer, FetchedManifest, ManifestHead, TagPage


class OfflineUpstream:
    """An ``Upstream`` that refuses every question."""

    def __init__(self, host: str, name: str = "") -> None:
        self.host = host
        self.name = name or host

    async def head_manifest(
        self, _repository: RepositoryName, _reference: Reference
    ) -> ManifestHead | None:
        """See Upstream."""
        self._refuse()

    async def get_manifest(
        self, _repository: RepositoryName, _reference: Reference
    ) -> FetchedManifest:
        """See Upstream."""
        self._refuse()

    async def stat_blob(self, _repository: RepositoryName, _digest: Digest) -> int | None:
        """See Upstream."""
        self._refuse()

    def open_blob(
        self,
        _repository: RepositoryName,
        _digest: Digest,
        _offset: int,
        *,
        stop: int | None = None,  # noqa: ARG002 - as in the protocol
    ) -> BlobTransfer:
        """See Upstream."""
        self._refuse()

    def stop_transfers(self) -> None:
        """See Upstream; there is none."""

    def stream_range(
        self, _repository: RepositoryName, _digest: Digest, _first: int, _last: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        """See Upstream."""
        self._refuse()

    async def list_tags(
        self, _repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagPage:
        """See Upstream."""
        del limit, after
        self._refuse()

    async def list_referrers(
        self, _repository: RepositoryName, _subject: Digest
    ) -> list[dict[str, Any]] | None:
        """See Upstream."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        message = "is not asked: mirror.offline is set"
        raise UpstreamUnreachableError(message, upstream=self.host)
