"""Connections to the mirror in bytes, as a client that counts every one of them sees them."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roadstead.telemetry.events import Repeated
from tests.support.rig import Rig


class Wire:
    """One connection, in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *pieces: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(b"".join(pieces))

    async def answer(self, *, has_body: bool = True) -> tuple[bytes, bytes]:
        """Read one answer: head and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        if length is None or not has_body:
            return head, b""
        return head, await self._reader.readexactly(int(length[1]))

    async def ask(self, head: bytes) -> tuple[bytes, bytes]:
        """Send one head and read its answer."""
        self.send(head)
        return await self.answer(has_body=head.startswith(b"GET"))

    def leave(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    async def is_closed(self) -> bool:
        """Wait for the end of the connection: True if nothing came before it."""
        async with asyncio.timeout(20):
            return await self._reader.read() == b""


@asynccontextmanager
async def connected(rig: Rig, *, context: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Open a connection to the mirror, by TLS with a ``context``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, ssl=context)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def head(path: str, *headers: str, method: str = "GET") -> bytes:
    """Make the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: mirror", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def turn(rig: Rig, *, context: ssl.SSLContext | None = None) -> None:
    """Return when the mirror has read what was sent before."""
    async with connected(rig, context=context) as other:
        await other.ask(head("/v2/"))


def repeated(rig: Rig) -> int:
    """Count the requests that were answered as an earlier one."""
    return sum(isinstance(event, Repeated) for event in rig.events)
