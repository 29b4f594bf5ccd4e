"""The body of a response that is made of one blob: all of it, or parts of it."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from aiohttp import web

from roadstead.errors import StorageError, UpstreamError
from roadstead.mirror.content import BlobReader
from roadstead.oci.mediatype import OCTET_STREAM
from roadstead.server.following import Follower, failure_of
from roadstead.server.incoming import Incoming
from roadstead.server.ranges import ByteRange

PassThrough: TypeAlias = Callable[
    [int, int], AbstractAsyncContextManager[AsyncIterator[bytes] | None]
]


class _ResponseSink:
    """Writes to a response of aiohttp, and counts on its request."""

    def __init__(self, incoming: Incoming, response: web.StreamResponse) -> None:
        self._incoming = incoming
        self._response = response

    @property
    def transport(self) -> asyncio.Transport | None:
        """See Sink."""
        return self._incoming.request.transport

    @property
    def sent_bytes(self) -> int:
        """See Sink."""
        return self._incoming.sent_bytes

    @sent_bytes.setter
    def sent_bytes(self, count: int) -> None:
        self._incoming.sent_bytes = count

    async def write(self, content: bytes) -> None:
        """See Sink."""
        await self._response.write(content)


class BodySender:
    """Sends spans of one blob as the body of one response."""

    def __init__(
        self,
        *,
        incoming: Incoming,
        reader: BlobReader,
        pass_through: PassThrough,
    ) -> None:
        """``pass_through`` gets a range (both ends inclusive) straight from upstream."""
        self._incoming = incoming
        self._request = incoming.request
        self._reader = reader
        self._pass_through = pass_through

    async def send_all(self, response: web.StreamResponse) -> None:
        """Send the whole blob, also when its size is not known yet."""
        await response.prepare(self._request)
        await self._guard(self._follow(response, 0, self._reader.size_bytes))

    async def send_range(self, response: web.StreamResponse, wanted: ByteRange) -> None:
        """Send one range."""
        await response.prepare(self._request)
        await self._guard(self._span(response, wanted))

    async def read(self, size: int) -> bytes:
        """Return the whole of a small blob, waiting until its digest is known to be right.

        An empty blob is waited for too.

        Raises:
            RoadsteadError: it cannot be had.
        """
        try:
            await self._reader.wait_beyond(max(size - 1, 0))
            content = os.pread(self._reader.file.fileno(), size, 0)
        except (StorageError, OSError):
            content = b""
        if len(content) < size:
            async with self._reader.pass_on(0) as chunks:
                content = b"".join([chunk async for chunk in chunks])
        return content

    async def send_ranges(
        self, response: web.StreamResponse, ranges: list[ByteRange], size: int
    ) -> None:
        """Send several ranges as multipart/byteranges (RFC 9110, section 14.6)."""
        boundary = secrets.token_hex(16)
        heads = [
            (
                f"\r\n--{boundary}\r\nContent-Type: {OCTET_STREAM}\r\n"
                f"Content-Range: {wanted.content_range(size)}\r\n\r\n"
            ).encode()
            for wanted in ranges
        ]
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + sum(wanted.length for wanted in ranges) + len(tail)
        response.content_length = length
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        await response.prepare(self._request)

        async def parts() -> None:
            for head, wanted in zip(heads, ranges, strict=True):
                await response.write(head)
                await self._span(response, wanted)
            await response.write(tail)

        await self._guard(parts())

    async def _guard(self, sending: Awaitable[None]) -> None:
        """Break the connection off if the body cannot be completed: never a clean, short end.

        Nothing may be raised for the sake of an answer: the headers of one are out already.
        """
        failure = await failure_of(sending)
        if failure is not None:
            self._incoming.failure, self._incoming.error = failure
            if self._request.transport is not None:
                self._request.transport.abort()

    async def _span(self, response: web.StreamResponse, wanted: ByteRange) -> None:
        if not self._reader.is_near(wanted.first) and await self._from_upstream(response, wanted):
            return
        await self._follow(response, wanted.first, wanted.last + 1)

    async def _from_upstream(self, response: web.StreamResponse, wanted: ByteRange) -> bool:
        """Get a range far ahead of the flight straight from upstream; False if it has no ranges."""
        before = self._incoming.sent_bytes
        try:
            async with self._pass_through(wanted.first, wanted.last) as chunks:
                if chunks is None:
                    return False
                async for chunk in chunks:
                    await response.write(chunk)
                    self._incoming.sent_bytes += len(chunk)
        except UpstreamError:
            if self._incoming.sent_bytes == before:
                return False
            raise
        return True

    async def _follow(self, response: web.StreamResponse, first: int, stop: int | None) -> None:
        sink = _ResponseSink(self._incoming, response)
        await Follower(self._reader, sink).send(first, stop)
