"""Small questions about blobs: is it there, how large, and one byte range of it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus

from roadstead.errors import BlobUnknownError, UpstreamUnreachableError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.upstream.answers import (
    MAX_ERROR_BYTES,
    is_manifest,
    is_page,
    parse_content_range,
    parse_length,
)
from roadstead.upstream.caller import Caller
from roadstead.upstream.transport import OpenAnswer

_HEAD_REFUSED = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.METHOD_NOT_ALLOWED,
    }
)


class BlobCalls:
    """The calls about blobs that need no thread."""

    def __init__(self, caller: Caller, *, upstream: str) -> None:
        """``upstream`` is the host in messages."""
        self._caller = caller
        self._upstream = upstream
        self._head_is_refused = False

    async def stat(self, repository: RepositoryName, digest: Digest) -> int | None:
        """See Upstream.stat_blob.

        HEAD is trusted only where it says 200 with a length: public.ecr.aws answers 401 to it,
        Harbor 404, others leave the length out, storage hosts refuse it. GET of the first byte
        works everywhere. An upstream that once refused HEAD and then allowed GET is not asked
        by HEAD again.
        """
        return await self._caller.patiently(lambda: self._stat(repository, digest))

    async def _stat(self, repository: RepositoryName, digest: Digest) -> int | None:
        refused = False
        if not self._head_is_refused:
            size, status = await self._head(repository, digest)
            if size is not None:
                return size
            refused = status in _HEAD_REFUSED
        size = await self._first_byte(repository, digest)
        self._head_is_refused = self._head_is_refused or refused
        return size

    async def _head(self, repository: RepositoryName, digest: Digest) -> tuple[int | None, int]:
        call = self._caller.open("HEAD", repository, self._url(repository, digest))
        async with call as answer:
            if answer.status != HTTPStatus.OK or is_page(answer.headers.get("Content-Type")):
                return None, answer.status
            _refuse_manifest(answer, repository, digest)
            return parse_length(answer.headers.get("Content-Length")), answer.status

    async def _first_byte(self, repository: RepositoryName, digest: Digest) -> int | None:
        headers = {"Range": "bytes=0-0"}
        url = self._url(repository, digest)
        async with self._caller.open("GET", repository, url, headers=headers) as answer:
            await self._raise_if_failed(answer, repository, digest)
            _, _, total = parse_content_range(answer.headers.get("Content-Range"))
            if answer.status != HTTPStatus.OK:
                return total
            encoded = "Content-Encoding" in answer.headers
            return None if encoded else parse_length(answer.headers.get("Content-Length"))

    @asynccontextmanager
    async def stream_range(
        self, repository: RepositoryName, digest: Digest, first: int, last: int | None
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """See Upstream.stream_range."""
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"}
        url = self._url(repository, digest)
        async with self._caller.open("GET", repository, url, headers=headers) as answer:
            await self._raise_if_failed(answer, repository, digest)
            count = _exact_length(answer, first, last)
            if count is None:
                yield None
                return
            async with aclosing(self._exactly(answer, count)) as stream:
                yield stream

    async def _exactly(self, answer: OpenAnswer, count: int) -> AsyncGenerator[bytes, None]:
        left = count
        async for piece in answer.pieces():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return
        if left > 0:
            message = f"the range ended {left} bytes before its time"
            raise UpstreamUnreachableError(message, upstream=self._upstream)

    async def _raise_if_failed(
        self, answer: OpenAnswer, repository: RepositoryName, digest: Digest
    ) -> None:
        _refuse_manifest(answer, repository, digest)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise BlobUnknownError(repository, str(digest))
        ranged = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}
        if answer.status in ranged or answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        raise self._caller.failure(await answer.read(MAX_ERROR_BYTES, truncate=True))

    def _url(self, repository: RepositoryName, digest: Digest) -> str:
        return self._caller.address(repository, f"blobs/{digest}")


def _refuse_manifest(answer: OpenAnswer, repository: RepositoryName, digest: Digest) -> None:
    """Treat a manifest as no blob: served as one, it poisons containerd's image store.

    Source: facts/protocol.md, section 3.2.
    """
    if answer.status < HTTPStatus.MULTIPLE_CHOICES and is_manifest(
        answer.headers.get("Content-Type")
    ):
        raise BlobUnknownError(repository, str(digest))


def _exact_length(answer: OpenAnswer, first: int, last: int | None) -> int | None:
    """Count the bytes of an answer that is exactly the range asked for; None if it is not."""
    begin, end, total = parse_content_range(answer.headers.get("Content-Range"))
    if answer.status != HTTPStatus.PARTIAL_CONTENT or "Content-Encoding" in answer.headers:
        return None
    ends = [bound for bound in (last, None if total is None else total - 1) if bound is not None]
    if end is None or begin != first or not ends or end != min(ends):
        return None
    return end - first + 1
