"""One upstream registry, put together: the Upstream that the mirror talks to."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from roadstead.errors import RepositoryUnknownError, UpstreamProtocolError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Reference, RepositoryName
from roadstead.upstream.address import Api, Origin
from roadstead.upstream.answers import REDIRECTS
from roadstead.upstream.auth import AuthSession
from roadstead.upstream.base import FetchedManifest, ManifestHead, TagPage
from roadstead.upstream.blobs import BlobCalls
from roadstead.upstream.caller import Caller
from roadstead.upstream.credentials import CredentialSource, StaticCredentials
from roadstead.upstream.lateopener import LateOpener
from roadstead.upstream.manifests import ManifestCalls
from roadstead.upstream.outbound import Outbound, Tracing
from roadstead.upstream.pages import next_page, read_referrers, read_tags
from roadstead.upstream.retry import Retries
from roadstead.upstream.timeouts import Timeouts
from roadstead.upstream.tlscontext import ClientTls
from roadstead.upstream.tokens import TokenCache
from roadstead.upstream.transport import Transport

if TYPE_CHECKING:
    from roadstead.upstream.transfer import BlobOpener, HttpBlobTransfer

DEFAULT_MAX_MANIFEST_BYTES = 8 * 1024 * 1024

_MAX_LISTING_BYTES = 4 * 1024 * 1024
_MAX_REFERRERS_PAGES = 50
_NO_REFERRERS_API = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.NOT_ACCEPTABLE,
    }
)


class RegistryUpstream:
    """An upstream registry over HTTP; an async context manager, open on one event loop.

    Only scheme, host and port of ``url`` are used, as distribution does. ``trusted_realms``
    are hosts (or ``host:port``) of token servers outside the registry's own domain. ``tls``
    replaces the system's trust in certificates. ``proxy`` is the address of an HTTP proxy for all
    that this upstream needs, with or without user information; None leaves it to HTTP_PROXY,
    HTTPS_PROXY and NO_PROXY. ``namespace`` is the registry that is meant, for a mirror of several.
    ``tracing`` says who traces calls. ``clock`` counts the life of tokens.

    Raises:
        ValueError: ``url`` or ``proxy`` is no http or https address; ``proxy`` is not repeated.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        url: str,
        *,
        credentials: CredentialSource | None = None,
        trusted_realms: frozenset[str] = frozenset(),
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        max_manifest_bytes: int = DEFAULT_MAX_MANIFEST_BYTES,
        tls: ClientTls | None = None,
        proxy: str | None = None,
        namespace: str | None = None,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origin = Origin.parse(url)
        api = Api(self._origin, namespace)
        bounds = timeouts or Timeouts()
        outbound = Outbound(self._origin, tls=tls, proxy=proxy, tracing=tracing)
        self._transport = Transport(upstream=self.host, timeouts=bounds, outbound=outbound)
        self._tokens = TokenCache(
            transport=self._transport,
            upstream=self._origin,
            trusted_realms=trusted_realms,
            clock=clock,
        )
        self._auth = AuthSession(
            origin=self._origin,
            transport=self._transport,
            tokens=self._tokens,
            credentials=credentials or StaticCredentials(),
            trusted_realms=trusted_realms,
            clock=clock,
        )
        self._caller = Caller(
            api=api,
            transport=self._transport,
            auth=self._auth,
            timeouts=bounds,
            retries=retries or Retries(),
        )
        self._manifests = ManifestCalls(self._caller, max_bytes=max_manifest_bytes)
        self._blobs = BlobCalls(self._caller, upstream=self.host)
        self._opener = LateOpener(partial(_make_opener, api, self._auth, bounds, outbound))

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        self._opener.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._opener.close()
        await self._tokens.aclose()
        await self._transport.__aexit__(*exception)

    @property
    def name(self) -> str:
        """See Upstream; alone it has no other than its host."""
        return self.host

    @property
    def host(self) -> str:
        """See Upstream."""
        return self._origin.authority

    def watch_manifest_headers(self, listener: Callable[[Mapping[str, str]], None]) -> None:
        """Let ``listener`` see the headers of each manifest answer: quotas are told there."""
        self._manifests.listener = listener

    async def head_manifest(
        self, repository: RepositoryName, reference: Reference
    ) -> ManifestHead | None:
        """See Upstream."""
        return await self._manifests.head(repository, reference)

    async def get_manifest(
        self, repository: RepositoryName, reference: Reference
    ) -> FetchedManifest:
        """See Upstream."""
        return await self._manifests.get(repository, reference)

    async def stat_blob(self, repository: RepositoryName, digest: Digest) -> int | None:
        """See Upstream."""
        return await self._blobs.stat(repository, digest)

    def open_blob(
        self, repository: RepositoryName, digest: Digest, offset: int, *, stop: int | None = None
    ) -> "HttpBlobTransfer":
        """See Upstream; must not be called on the event loop's own thread."""
        return self._opener.get().open(repository, digest, offset, stop=stop)

    def stop_transfers(self) -> None:
        """See Upstream."""
        self._opener.stop()

    def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes] | None]:
        """See Upstream.

        Raises:
            BlobUnknownError: there is none, or it is a manifest.
            UpstreamError: upstream did not answer, said no, or broke off.
        """
        return self._blobs.stream_range(repository, digest, first, last)

    async def list_tags(
        self, repository: RepositoryName, *, limit: int | None, after: str | None
    ) -> TagPage:
        """See Upstream."""
        url = self._caller.address(repository, "tags/list", n=limit, last=after)
        answer = await self._caller.fetch("GET", repository, url, limit_bytes=_MAX_LISTING_BYTES)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise RepositoryUnknownError(repository)
        if answer.status != HTTPStatus.OK:
            raise self._caller.failure(answer)
        page = read_tags(answer, limit=limit, after=after)
        if page is None:
            message = f"sent no list of tags for {repository}"
            raise UpstreamProtocolError(message, upstream=self.host)
        return page

    async def list_referrers(
        self, repository: RepositoryName, subject: Digest
    ) -> list[dict[str, Any]] | None:
        """See Upstream."""
        found: list[dict[str, Any]] = []
        left = _MAX_LISTING_BYTES
        url = self._caller.address(repository, f"referrers/{subject}")
        for _ in range(_MAX_REFERRERS_PAGES):
            # ghcr.io redirects to a web page, which may then answer anything, 429 for one.
            answer = await self._caller.fetch(
                "GET", repository, url, limit_bytes=left, follow=False
            )
            if answer.status in _NO_REFERRERS_API | REDIRECTS:
                return None
            if answer.status != HTTPStatus.OK:
                raise self._caller.failure(answer)
            page = read_referrers(answer)
            if page is None:
                return None
            found += page
            left -= len(answer.body)
            following = next_page(answer.headers, answer.url)
            if following is None:
                return found
            url = following
        message = f"has more than {_MAX_REFERRERS_PAGES} pages of referrers for {subject}"
        raise UpstreamProtocolError(message, upstream=self.host)


def _make_opener(
    api: Api, auth: AuthSession, timeouts: Timeouts, outbound: Outbound
) -> "BlobOpener":
    from roadstead.upstream.transfer import BlobOpener  # noqa: PLC0415 - see LateOpener

    return BlobOpener(api=api, auth=auth, timeouts=timeouts, outbound=outbound)
