"""Sending the file of a blob, which may still grow: by sendfile where the socket allows."""

import asyncio
import os
from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from roadstead.errors import RoadsteadError, StorageError
from roadstead.mirror.content import BlobReader

# Measured in facts/performance.md 4: asyncio's own fallback for TLS reads 16 KiB per executor
# hop and is six times slower than this.
_CHUNK_BYTES = 256 * 1024
# After so much a reader looks again whether the file may be read (see pump), and small requests
# get their turn: a client on the same machine takes whatever one call of sendfile offers.
_SPAN_BYTES = 1024 * 1024
# A client that is passed a blob on, and takes nothing for so long, loses its place to another.
_STALL_SECONDS = 60.0


class _UnreadableFileError(Exception):
    """The file did not give what should be in it; ``position`` is where the body stands."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Sink(Protocol):
    """Where a body goes. ``sent_bytes`` counts what was handed over, whoever did it."""

    sent_bytes: int

    @property
    def transport(self) -> asyncio.Transport | None:
        """The client's; None when it has left."""

    async def write(self, content: bytes) -> None:
        """Hand over; wait while the client is behind.

        Raises:
            ConnectionError: the client has left.
        """


class Follower:
    """Sends spans of one blob's file to one client."""

    def __init__(self, reader: BlobReader, sink: Sink) -> None:
        """What the file does not give comes from ``reader.pass_on``."""
        self._reader = reader
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    async def send(self, first: int, stop: int | None) -> None:
        """Send from ``first`` up to ``stop``, or to the end, as the bytes become available.

        Raises:
            ConnectionError: the client has left.
            RuntimeError: the same, as asyncio says it when its transport is closing already.
            RoadsteadError: the rest cannot be had.
            OSError: the same.
        """
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
                    await self._copy(position, end)
                else:
                    await self._sendfile(position, end)
                position = end
        except _UnreadableFileError as error:
            await self._pass_on(error.position, stop)
        except StorageError:
            await self._pass_on(position, stop)

    async def _pass_on(self, first: int, stop: int | None) -> None:
        """Send straight from upstream what the file cannot give."""
        position = first
        async with self._reader.pass_on(first) as chunks:
            async for chunk in chunks:
                piece = chunk if stop is None else chunk[: stop - position]
                async with asyncio.timeout(_STALL_SECONDS):
                    await self._sink.write(piece)
                self._sink.sent_bytes += len(piece)
                position += len(piece)
                if position == stop and len(piece) < len(chunk):
                    return

    async def _sendfile(self, first: int, stop: int) -> None:
        transport = self._sink.transport
        if transport is None:
            message = "connection lost"
            raise ConnectionResetError(message)
        position = first + self._sent_at_once(transport, first, stop - first)
        self._sink.sent_bytes += position - first
        if position == stop:
            # A fast client never makes us wait; other requests must get their turn.
            await asyncio.sleep(0)
            return
        try:
            # Without asyncio's fallback, which seeks in a file that others read too.
            sent = await self._loop.sendfile(
                transport, self._reader.file, position, stop - position, fallback=False
            )
        except asyncio.SendfileNotAvailableError:
            # Nothing was sent: the file cannot be read this way, or the client has left.
            await self._copy(position, stop)
            return
        self._sink.sent_bytes += sent
        if sent < stop - position:
            raise _UnreadableFileError(position + sent)

    def _sent_at_once(self, transport: asyncio.Transport, first: int, count: int) -> int:
        """Send what the socket takes now, if it is our turn; return how much that was.

        To a client that keeps up this is half the work of asyncio's sendfile, which registers the
        socket and waits each time. What stands in the way is for that one to find out.
        """
        if transport.is_closing() or transport.get_write_buffer_size():
            return 0
        socket = transport.get_extra_info("socket")
        try:
            return os.sendfile(socket.fileno(), self._reader.file.fileno(), first, count)
        except OSError:
            return 0

    async def _copy(self, first: int, stop: int) -> None:
        descriptor = self._reader.file.fileno()
        position = first
        while position < stop:
            try:
                chunk = os.pread(descriptor, min(_CHUNK_BYTES, stop - position), position)
            except OSError as error:
                raise _UnreadableFileError(position) from error
            if not chunk:
                raise _UnreadableFileError(position)
            await self._sink.write(chunk)
            self._sink.sent_bytes += len(chunk)
            position += len(chunk)
            if position < stop:
                # A fast client never makes write() wait; other requests must get their turn.
                await asyncio.sleep(0)

    def _is_encrypted(self) -> bool:
        transport = self._sink.transport
        return transport is not None and is_encrypted(transport)


def is_encrypted(transport: asyncio.Transport) -> bool:
    """Say whether what is sent must pass through TLS first, so that no file can be sent as is."""
    return transport.get_extra_info("sslcontext") is not None


class Failure(NamedTuple):
    """Why a body could not be completed; ``error`` as in events.RequestFailed."""

    text: str
    error: str


async def failure_of(sending: Awaitable[None]) -> Failure | None:
    """Send a body, and return why it could not be completed; None if it was."""
    try:
        await sending
    except (ConnectionError, RuntimeError) as error:
        # The client has left; asyncio says so with a RuntimeError when its transport is
        # closing already.
        return Failure(f"the client left: {error}", "client left")
    except RoadsteadError as error:
        return Failure(str(error), type(error).__name__)
    except OSError as error:
        return Failure(str(error), "OSError")
    return None
