"""Sending the bytes of a blob: by sendfile where the socket allows, following a growing file."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from aiohttp import web

from roadstead.errors import (
    RoadsteadError,
    StorageError,
    UpstreamError,
)
from roadstead.mirror.content import BlobReader
from roadstead.oci.mediatype import OCTET_STREAM
from roadstead.server.incoming import Incoming
from roadstead.server.ranges import ByteRange

PassThrough: TypeAlias = Callable[
    [int, int], AbstractAsyncContextManager[AsyncIterator[bytes] | None]
]

# Measured in facts/performance.md 4: asyncio's own fallback for TLS reads 16 KiB per executor
# hop and is six times slower than this.
_CHUNK_BYTES = 256 * 1024
# After so much a reader looks again whether the file may be read: see pump.
_SPAN_BYTES = 32 * 1024 * 1024
# A client that is passed a blob on, and takes nothing for so long, loses its place to another.
_STALL_SECONDS = 60.0


class _UnreadableFileError(Exception):
    """The file did not give what should be in it; ``position`` is where the body stands."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


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
        self._loop = asyncio.get_running_loop()

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
        try:
            await sending
        except (ConnectionError, RuntimeError) as error:
            # The client has left; asyncio says so with a RuntimeError when its transport is
            # closing already.
            self._break_off(f"the client left: {error}", "client left")
        except RoadsteadError as error:
            self._break_off(str(error), type(error).__name__)
        except OSError as error:
            self._break_off(str(error), "OSError")

    def _break_off(self, failure: str, error: str) -> None:
        self._incoming.failure, self._incoming.error = failure, error
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
        """Send from ``first`` up to ``stop`` as the bytes become available."""
        position = first
        try:
            while stop is None or position < stop:
                available = await self._reader.wait_beyond(position)
                if stop is not None:
                    available = min(available, stop)
                if available <= position:
                    return
                end = min(available, position + _SPAN_BYTES)
                if stop is None or self._is_encrypted():
                    await self._copy(response, position, end)
                else:
                    await self._sendfile(response, position, end)
                position = end
        except _UnreadableFileError as error:
            await self._pass_on(response, error.position, stop)
        except StorageError:
            await self._pass_on(response, position, stop)

    async def _pass_on(self, response: web.StreamResponse, first: int, stop: int | None) -> None:
        """Send straight from upstream what the file cannot give."""
        position = first
        async with self._reader.pass_on(first) as chunks:
            async for chunk in chunks:
                piece = chunk if stop is None else chunk[: stop - position]
                async with asyncio.timeout(_STALL_SECONDS):
                    await response.write(piece)
                self._incoming.sent_bytes += len(piece)
                position += len(piece)
                if position == stop and len(piece) < len(chunk):
                    return

    async def _sendfile(self, response: web.StreamResponse, first: int, stop: int) -> None:
        transport = self._request.transport
        if transport is None:
            message = "connection lost"
            raise ConnectionResetError(message)
        try:
            # Without asyncio's fallback, which seeks in a file that others read too.
            sent = await self._loop.sendfile(
                transport, self._reader.file, first, stop - first, fallback=False
            )
        except asyncio.SendfileNotAvailableError:
            # Nothing was sent: the file cannot be read this way, or the client has left.
            await self._copy(response, first, stop)
            return
        self._incoming.sent_bytes += sent
        if sent < stop - first:
            raise _UnreadableFileError(first + sent)

    async def _copy(self, response: web.StreamResponse, first: int, stop: int) -> None:
        descriptor = self._reader.file.fileno()
        position = first
        while position < stop:
            try:
                chunk = os.pread(descriptor, min(_CHUNK_BYTES, stop - position), position)
            except OSError as error:
                raise _UnreadableFileError(position) from error
            if not chunk:
                raise _UnreadableFileError(position)
            await response.write(chunk)
            self._incoming.sent_bytes += len(chunk)
            position += len(chunk)
            # A fast client never makes write() wait; other requests must get their turn.
            await asyncio.sleep(0)

    def _is_encrypted(self) -> bool:
        transport = self._request.transport
        return transport is not None and transport.get_extra_info("sslcontext") is not None
