"""Blobs, in the calling thread.

Blocking reads in a thread of their own carry twice as many bytes per second as the event loop
would, and leave it free for small requests (facts/performance.md, sections 5 and 8). The rules
for redirects, credentials and errors are those of the small calls; the conversation about
authentication is held on the event loop, where the tokens are.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from http import HTTPStatus
from typing import Any, TypeVar

import urllib3

from roadstead.errors import (
    BlobUnknownError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.upstream.address import Api
from roadstead.upstream.answers import (
    MAX_ERROR_BYTES,
    failure_of,
    is_manifest,
    parse_content_range,
    parse_length,
)
from roadstead.upstream.auth import AuthSession, Dialogue
from roadstead.upstream.outbound import Outbound
from roadstead.upstream.pool import Arrived, BlockingPool, let_go
from roadstead.upstream.timeouts import Timeouts

Value = TypeVar("Value")

READ_BYTES = 512 * 1024

_IDENTITY = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})


class HttpBlobTransfer:
    """One open transfer; see BlobTransfer for the contract."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        *,
        start: int,
        stop: int | None,
        size_bytes: int | None,
        upstream: str,
        translate: Callable[[Exception], UpstreamError],
    ) -> None:
        self._response = response
        self._upstream = upstream
        self._translate = translate
        self._decode = _encoding(response) in _GZIP
        self._position = start
        self._end = size_bytes if stop is None else stop
        self._aborted = False
        self.start = start
        self.size_bytes = size_bytes

    def read(self) -> bytes:
        """See BlobTransfer."""
        try:
            piece = self._response.read1(READ_BYTES, decode_content=self._decode)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._end_of_abort() or self._translate(error) from error
        # Asked after the read: what a shut down TLS connection gives is no content.
        aborted = self._end_of_abort()
        if aborted is not None:
            raise aborted
        self._position += len(piece)
        self._check(at_end=not piece)
        return piece

    def close(self) -> None:
        """See BlobTransfer."""
        self._response.close()

    def abort(self) -> None:
        """See BlobTransfer; shuts the socket down for reading."""
        self._aborted = True
        # It may just have come to its end, or lost its connection.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def _end_of_abort(self) -> UpstreamUnreachableError | None:
        if not self._aborted:
            return None
        return UpstreamUnreachableError("the transfer was aborted", upstream=self._upstream)

    def _check(self, *, at_end: bool) -> None:
        end = self._end
        if end is None:
            return
        if self._position > end:
            message = f"sent more than the {end} bytes that it announced"
            raise UpstreamProtocolError(message, upstream=self._upstream)
        if at_end and self._position < end:
            message = f"the transfer ended at byte {self._position} of {end}"
            raise UpstreamUnreachableError(message, upstream=self._upstream)


class BlobOpener:
    """Opens transfers from one upstream, from any thread but the event loop's."""

    def __init__(
        self,
        *,
        api: Api,
        auth: AuthSession,
        timeouts: Timeouts,
        outbound: Outbound,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._host = api.origin.authority
        self._auth = auth
        self._timeouts = timeouts
        self._wall_clock = wall_clock
        self._pool = BlockingPool(upstream=self._host, timeouts=timeouts, outbound=outbound)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: set[Future[Any]] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take ``loop`` as the one where tokens are fetched."""
        self._loop = loop

    def stop(self) -> None:
        """Refuse new transfers, and end those that wait for an answer; open ones go on."""
        self._loop = None
        for future in list(self._pending):
            future.cancel()
        self._pool.stop()

    def close(self) -> None:
        """Stop, and let idle connections go."""
        self.stop()
        self._pool.close()

    def open(
        self, repository: RepositoryName, digest: Digest, offset: int, *, stop: int | None = None
    ) -> HttpBlobTransfer:
        """Begin a transfer; see Upstream.open_blob.

        A range that upstream answers wrongly is not asked for again: the whole blob is, unless
        only a part is wanted.
        """
        transfer = self._open(repository, digest, offset, stop)
        if transfer is None and stop is None:
            transfer = self._open(repository, digest, 0, None)
        if transfer is None:
            message = f"sent a wrong part of blob {digest}"
            raise UpstreamProtocolError(message, upstream=self._host)
        return transfer

    def _open(
        self, repository: RepositoryName, digest: Digest, offset: int, stop: int | None
    ) -> HttpBlobTransfer | None:
        arrived, dialogue = self._ask(repository, digest, _range_header(offset, stop))
        response = arrived.response
        transfer = None
        try:
            self._raise_if_failed(response, dialogue, repository, digest)
            transfer = self._transfer(response, offset, stop)
        finally:
            if transfer is None:
                let_go(response)
        return transfer

    def _ask(
        self, repository: RepositoryName, digest: Digest, headers: Mapping[str, str]
    ) -> tuple[Arrived, Dialogue]:
        url = self._api.address(repository, f"blobs/{digest}")
        dialogue = self._auth.dialogue(repository)
        # A turn of the event loop is most of what a blob without authorization would wait for.
        if not self._auth.asks_for_nothing:
            self._on_loop(dialogue.begin())
        expired = False
        while True:
            arrived = self._pool.get(url, headers=headers, authorization=dialogue.authorization)
            response = arrived.response
            again = False
            if response.status == HTTPStatus.UNAUTHORIZED and not arrived.redirected:
                challenges = response.headers.getlist("WWW-Authenticate")
                try:
                    again = self._on_loop(dialogue.retry(challenges))
                except UpstreamError:
                    let_go(response)
                    raise
            elif response.status == HTTPStatus.FORBIDDEN and arrived.redirected:
                # A signature that expired on the way: the registry gives another (failures 5).
                again, expired = not expired, True
            if not again:
                return arrived, dialogue
            let_go(response)

    def _raise_if_failed(
        self,
        response: urllib3.BaseHTTPResponse,
        dialogue: Dialogue,
        repository: RepositoryName,
        digest: Digest,
    ) -> None:
        status = response.status
        if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            # Served as a blob, a manifest poisons containerd's store (facts/protocol.md, 3.2).
            if is_manifest(response.headers.get("Content-Type")):
                raise BlobUnknownError(repository, str(digest))
            return
        if status == HTTPStatus.NOT_FOUND:
            raise BlobUnknownError(repository, str(digest))
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        try:
            body = response.read(MAX_ERROR_BYTES)
        except (urllib3.exceptions.HTTPError, OSError):
            body = b""
        raise failure_of(
            status,
            response.headers,
            body,
            upstream=self._host,
            now=self._wall_clock(),
            hide=[dialogue.authorization],
        )

    def _transfer(
        self, response: urllib3.BaseHTTPResponse, offset: int, stop: int | None
    ) -> HttpBlobTransfer | None:
        """Find out where the answer begins; None where that is of no use."""
        encoding = _encoding(response)
        first, last, total = parse_content_range(response.headers.get("Content-Range"))
        start: int | None = None
        size = total
        if response.status == HTTPStatus.OK:
            start, size = 0, parse_length(response.headers.get("Content-Length"))
            if encoding in _GZIP:
                # Red Hat's registry; the length is that of the compressed bytes.
                size = None
        elif response.status == HTTPStatus.PARTIAL_CONTENT:
            is_right = first == offset and last is not None and stop in {None, last + 1}
            start = first if is_right else None
        elif total == offset:
            # Nothing is missing: the range behind the last byte.
            start = offset
        if stop is not None and response.status != HTTPStatus.PARTIAL_CONTENT:
            return None
        if start is None or (encoding not in _IDENTITY and (start or encoding not in _GZIP)):
            return None
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            let_go(response)
        return HttpBlobTransfer(
            response,
            start=start,
            stop=stop,
            size_bytes=size,
            upstream=self._host,
            translate=self._pool.translated,
        )

    def _on_loop(self, work: Coroutine[Any, Any, Value]) -> Value:
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            raise self._pool.stopping()
        future = asyncio.run_coroutine_threadsafe(work, loop)
        self._pending.add(future)
        try:
            return future.result(self._timeouts.total)
        except CancelledError as error:
            raise self._pool.stopping() from error
        except TimeoutError as error:
            future.cancel()
            message = f"gave no token in {self._timeouts.total:g} s"
            raise UpstreamTimeoutError(message, upstream=self._host) from error
        finally:
            self._pending.discard(future)


def _range_header(offset: int, stop: int | None) -> dict[str, str]:
    if stop is not None:
        return {"Range": f"bytes={offset}-{stop - 1}"}
    return {"Range": f"bytes={offset}-"} if offset else {}


def _encoding(response: urllib3.BaseHTTPResponse) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()
