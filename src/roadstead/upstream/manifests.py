"""Manifests from upstream: their HEAD, which is free of quota, and their bytes, verified."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from roadstead.errors import (
    DigestMismatchError,
    ManifestInvalidError,
    ManifestUnknownError,
)
from roadstead.oci import mediatype
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.upstream.answers import is_page, parse_digest, parse_length
from roadstead.upstream.base import FetchedManifest, ManifestHead
from roadstead.upstream.caller import Caller
from roadstead.upstream.transport import Answer

# What registries answer that have HEAD switched off, or do not know it.
_HEAD_REFUSED = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.NOT_ACCEPTABLE,
    }
)
_ACCEPT = {"Accept": mediatype.UPSTREAM_ACCEPT}


class ManifestCalls:
    """The two calls about manifests."""

    def __init__(self, caller: Caller, *, max_bytes: int) -> None:
        """``max_bytes`` bounds a manifest's size."""
        self._caller = caller
        self._max_bytes = max_bytes
        self.listener: Callable[[Mapping[str, str]], None] | None = None

    async def head(self, repository: RepositoryName, reference: Reference) -> ManifestHead | None:
        """See Upstream.head_manifest.

        A redirect counts for what its own headers tell; its target is not asked.
        """
        answer = await self._ask("HEAD", repository, reference)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise ManifestUnknownError(repository, str(reference))
        if answer.status in _HEAD_REFUSED:
            return None
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise self._caller.failure(answer)
        digest = parse_digest(answer.headers.get("Docker-Content-Digest"))
        if digest is None:
            return None
        if answer.status != HTTPStatus.OK:
            return ManifestHead(digest, None, None)
        media_type = mediatype.essence(answer.headers.get("Content-Type", "")) or None
        return ManifestHead(digest, media_type, parse_length(answer.headers.get("Content-Length")))

    async def get(self, repository: RepositoryName, reference: Reference) -> FetchedManifest:
        """See Upstream.get_manifest."""
        answer = await self._ask("GET", repository, reference)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise ManifestUnknownError(repository, str(reference))
        if answer.status != HTTPStatus.OK:
            raise self._caller.failure(answer)
        content_type = answer.headers.get("Content-Type")
        if is_page(content_type):
            message = f"a web page was sent in place of manifest {reference} of {repository}"
            raise ManifestInvalidError(message)
        digest = _verified(answer, reference)
        manifest = parse_manifest(answer.body, mediatype.essence(content_type or ""))
        return FetchedManifest(
            Descriptor(manifest.media_type, digest, len(answer.body)), answer.body
        )

    async def _ask(self, method: str, repository: RepositoryName, reference: Reference) -> Answer:
        url = self._caller.address(repository, f"manifests/{reference}")
        answer = await self._caller.fetch(
            method, repository, url, limit_bytes=self._max_bytes, headers=_ACCEPT
        )
        if self.listener is not None and answer.status == HTTPStatus.OK:
            self.listener(answer.headers)
        return answer


def _verified(answer: Answer, reference: Reference) -> Digest:
    """Hash the content and compare: with the digest asked for, else with the one announced."""
    if isinstance(reference, Digest):
        reference.verify(answer.body)
        return reference
    announced = parse_digest(answer.headers.get("Docker-Content-Digest"))
    if announced is None:
        return Digest.of(answer.body)
    actual = Digest.of(answer.body, announced.algorithm)
    if actual != announced:
        raise DigestMismatchError(str(announced), str(actual))
    return actual
