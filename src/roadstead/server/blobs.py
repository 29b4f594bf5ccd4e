"""Handlers of blobs: whole, in parts, or only their size."""

import os
from collections.abc import Callable
from functools import partial

from aiohttp import web
from multidict import CIMultiDict

from roadstead.mirror.content import BlobReader, HeldBlobReader
from roadstead.mirror.mirror import Mirror
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.digest import Digest
from roadstead.oci.errorcode import ErrorCode
from roadstead.oci.mediatype import OCTET_STREAM
from roadstead.oci.reference import RepositoryName
from roadstead.server.body import BodySender
from roadstead.server.endpoints import BlobEndpoint
from roadstead.server.errors import ErrorResponse
from roadstead.server.incoming import Incoming
from roadstead.server.ranges import (
    ByteRange,
    RangeNotSatisfiableError,
    if_range_holds,
    matches_none_of,
    parse_ranges,
)
from roadstead.server.repeats import UPSTREAM, Current, Repeatable
from roadstead.server.resolve import find_mirror, note_outcome
from roadstead.telemetry import events
from roadstead.telemetry.events import Kind, Outcome, Served

IMMUTABLE = "max-age=31536000, immutable"
"""Cache-Control of what a digest names: it never changes, so it may be kept for a year."""

# Up to this many bytes are read and sent in one write together with the headers.
_SMALL_BLOB_BYTES = 64 * 1024


class BlobHandlers:
    """GET and HEAD of ``/v2/<name>/blobs/<digest>``."""

    def __init__(
        self,
        mirrors: Mirrors,
        *,
        observe: events.Observer,
        accel: Callable[[Digest], str] | None = None,
    ) -> None:
        """``accel`` gives the path by which an nginx in front finds the data; None: there is none.

        Behind nginx a held blob is answered with that path as X-Accel-Redirect and without a
        body; nginx sends the file, or the parts of it that were asked for.
        """
        self._mirrors = mirrors
        self._observe = observe
        self._accel = accel

    async def head(self, incoming: Incoming, endpoint: BlobEndpoint) -> web.Response:
        """Tell a blob's size; never starts a download."""
        mirror, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
        return await self._head(incoming, mirror, repository, endpoint.digest)

    async def get(self, incoming: Incoming, endpoint: BlobEndpoint) -> web.StreamResponse:
        """Send a blob, or the parts of it that were asked for."""
        mirror, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
        if not matches_none_of(
            incoming.request.headers.get("If-None-Match"), f'"{endpoint.digest}"'
        ):
            return await self._head(incoming, mirror, repository, endpoint.digest)
        reader = await mirror.blob(repository, endpoint.digest)
        try:
            note_outcome(incoming, reader.outcome)
            if reader.outcome is Outcome.HIT:
                size = reader.size_bytes or 0
                at_hand = partial(mirror.blob_at_hand, repository, endpoint.digest)
                if size <= _SMALL_BLOB_BYTES:
                    incoming.repeatable = _repeatable(at_hand, size, has_body=True)
                elif self._accel is None:
                    incoming.repeatable = _repeatable_file(at_hand, size)
                else:
                    incoming.repeatable = _repeatable(at_hand, size, has_body=False)
                    self._served(incoming, size)
                    return _handed_over(endpoint.digest, self._accel(endpoint.digest))
            response = await _send(
                incoming,
                reader,
                endpoint.digest,
                BodySender(
                    incoming=incoming,
                    reader=reader,
                    pass_through=partial(mirror.stream_range, repository, endpoint.digest),
                ),
            )
            self._served(incoming, reader.size_bytes or incoming.sent_bytes)
            return response
        finally:
            reader.close()

    async def _head(
        self, incoming: Incoming, mirror: Mirror, repository: RepositoryName, digest: Digest
    ) -> web.Response:
        size, outcome = await mirror.stat_blob(repository, digest)
        note_outcome(incoming, outcome)
        self._served(incoming, size or 0)
        if size is not None and outcome is Outcome.HIT:
            at_hand = partial(mirror.blob_at_hand, repository, digest)
            incoming.repeatable = _repeatable(at_hand, size, has_body=False)
        headers = _headers(digest)
        if not matches_none_of(incoming.request.headers.get("If-None-Match"), headers["ETag"]):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = OCTET_STREAM
        if size is not None:
            headers["Content-Length"] = str(size)
        return web.Response(headers=headers)

    def _served(self, incoming: Incoming, size_bytes: int) -> None:
        incoming.content_digest = incoming.digest
        incoming.content_bytes = size_bytes
        outcome = incoming.outcome or Outcome.MISS
        upstream = incoming.common_headers[UPSTREAM]
        sent, repository = incoming.sent_bytes, incoming.stored_name
        self._observe(Served(Kind.BLOB, outcome, size_bytes, sent, upstream, repository))


async def _send(
    incoming: Incoming, reader: BlobReader, digest: Digest, sender: BodySender
) -> web.StreamResponse:
    headers = _headers(digest)
    headers["Content-Type"] = OCTET_STREAM
    size = reader.size_bytes
    try:
        ranges = _wanted_ranges(incoming, headers["ETag"], size)
    except RangeNotSatisfiableError:
        return _unsatisfiable(digest, size)
    if ranges is None and size is not None and size <= _SMALL_BLOB_BYTES:
        # With one write, when all of it is there, so that errors stay errors.
        content = await sender.read(size)
        incoming.sent_bytes = len(content)
        return web.Response(body=content, headers=headers)
    # A streamed response is prepared here; the app adds these to all others.
    headers.extend(incoming.common_headers)
    response = web.StreamResponse(headers=headers)
    if ranges is None or size is None:
        response.content_length = size
        await sender.send_all(response)
        return response
    response.set_status(206)
    if len(ranges) == 1:
        response.headers["Content-Range"] = ranges[0].content_range(size)
        response.content_length = ranges[0].length
        await sender.send_range(response, ranges[0])
    else:
        await sender.send_ranges(response, ranges, size)
    return response


def _repeatable(
    at_hand: Callable[[], BlobReader | None], size: int, *, has_body: bool
) -> Repeatable:
    """Say how a held blob that was served in one write may be served again."""

    def current() -> Current | None:
        reader = at_hand()
        if reader is None:
            return None
        try:
            if reader.size_bytes != size:
                return None
            body = os.pread(reader.file.fileno(), size, 0) if has_body else b""
        except OSError:
            return None
        finally:
            reader.close()
        return Current(body) if len(body) == (size if has_body else 0) else None

    return Repeatable(Kind.BLOB, size, current)


def _repeatable_file(at_hand: Callable[[], HeldBlobReader | None], size: int) -> Repeatable:
    """Say how a held blob that is sent from its file may be served again."""

    def current() -> Current | None:
        reader = at_hand()
        if reader is not None and reader.size_bytes != size:
            reader.close()
            reader = None
        return None if reader is None else Current(reader=reader)

    return Repeatable(Kind.BLOB, size, current)


def _handed_over(digest: Digest, path: str) -> web.Response:
    """Let nginx send the file at ``path``, with ranges if the client asked for them."""
    headers = _headers(digest)
    headers["Content-Type"] = OCTET_STREAM
    headers["X-Accel-Redirect"] = path
    return web.Response(headers=headers)


def _headers(digest: Digest) -> CIMultiDict[str]:
    text = str(digest)
    return CIMultiDict(
        {
            "Docker-Content-Digest": text,
            "ETag": f'"{text}"',
            "Cache-Control": IMMUTABLE,
            "Accept-Ranges": "bytes",
        }
    )


def _unsatisfiable(digest: Digest, size: int | None) -> ErrorResponse:
    headers = _headers(digest)
    headers["Cache-Control"] = "no-store"
    headers["Content-Range"] = f"bytes */{size}"
    return ErrorResponse(ErrorCode.RANGE_INVALID, headers=headers)


def _wanted_ranges(incoming: Incoming, etag: str, size: int | None) -> list[ByteRange] | None:
    headers = incoming.request.headers
    header = headers.get("Range")
    if header is None or size is None or not if_range_holds(headers.get("If-Range"), etag):
        return None
    return parse_ranges(header, size)
