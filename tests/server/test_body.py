"""Bodies that cannot be completed: broken off, whatever the cause, and never another answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from aiohttp import web

from roadstead.errors import UpstreamUnreachableError
from roadstead.mirror.content import HeldBlobReader
from roadstead.server.body import BodySender
from roadstead.server.incoming import Incoming
from roadstead.server.listener import Listener
from roadstead.server.ranges import ByteRange
from roadstead.storage.base import OpenBlob
from roadstead.telemetry.events import Outcome
from tests.support.rig import nowhere

CONTENT = bytes(range(256)) * 2000
SIZE = len(CONTENT)

Chunks = AsyncIterator[bytes] | None
Send = Callable[[BodySender, web.StreamResponse], Awaitable[None]]


class FarReader(HeldBlobReader):
    """A blob of which nothing has arrived where it is wanted."""

    def is_near(self, offset: int) -> bool:
        """Only the beginning is."""
        return offset < SIZE // 2


class Exchange:
    """One request to a server that sends one body, and what came of it."""

    def __init__(self, reader: HeldBlobReader, send: Send) -> None:
        self.reader = reader
        self.send = send
        self.passed: list[bytes | Exception] | None = None
        self.failure = ""
        self.body = b""

    async def run(self) -> None:
        """Serve, ask once and read until the connection ends or the body is complete."""
        listener = Listener(self._handle, drain_seconds=1)
        port = await listener.listen_tcp("127.0.0.1", 0)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            with suppress(ConnectionError):
                while chunk := await reader.read(65536):
                    self.body += chunk
            writer.close()
        finally:
            await listener.aclose()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        incoming = Incoming(request)
        sender = BodySender(incoming=incoming, reader=self.reader, pass_through=self._pass_through)
        response = web.StreamResponse()
        response.content_length = SIZE
        await self.send(sender, response)
        self.failure = incoming.failure
        return response

    @asynccontextmanager
    async def _pass_through(self, first: int, last: int) -> AsyncIterator[Chunks]:
        assert (first, last) == (SIZE - 10, SIZE - 1)
        passed = self.passed

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in passed or []:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        yield None if passed is None else chunks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file with the content."""
    path = tmp_path / "data"
    path.write_bytes(CONTENT)
    return path


def held(file: BinaryIO) -> HeldBlobReader:
    """Read a blob from a file that claims to have all of it."""
    return HeldBlobReader(OpenBlob(file, SIZE), Outcome.HIT, pass_on=nowhere)


async def send_all(sender: BodySender, response: web.StreamResponse) -> None:
    """Send everything."""
    await sender.send_all(response)


async def send_end(sender: BodySender, response: web.StreamResponse) -> None:
    """Send the last ten bytes."""
    response.content_length = 10
    await sender.send_range(response, ByteRange(SIZE - 10, SIZE - 1))


async def test_a_whole_file_arrives(path: Path) -> None:
    """The stage works: what is right is not broken off."""
    with path.open("rb") as file:
        exchange = Exchange(held(file), send_all)
        await exchange.run()

    assert (exchange.body, exchange.failure) == (CONTENT, "")


async def test_a_file_that_became_shorter_is_broken_off(path: Path) -> None:
    """Fewer bytes than were promised never end cleanly, if upstream does not have the rest."""
    with path.open("rb+") as file:
        file.truncate(1000)
        exchange = Exchange(held(file), send_all)
        await exchange.run()

    assert exchange.body == CONTENT[:1000]
    assert "passes nothing on" in exchange.failure


async def test_a_disk_that_cannot_be_read_is_broken_off(path: Path) -> None:
    """No error document of the API follows behind headers that promised a blob."""
    with path.open("ab") as unreadable:
        exchange = Exchange(held(unreadable), send_all)
        await exchange.run()

    assert exchange.body == b""
    assert exchange.failure


@pytest.mark.parametrize("length", [0, 1000, SIZE - 1])
async def test_what_a_file_does_not_give_is_passed_on(path: Path, length: int) -> None:
    """The body goes on where the file ends, with what upstream has behind it."""

    async def rest(offset: int) -> AsyncIterator[bytes]:
        yield CONTENT[offset : offset + 10]
        yield CONTENT[offset + 10 :]

    def pass_on(offset: int, _file: BinaryIO) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return nullcontext(rest(offset))

    with path.open("rb+") as file:
        file.truncate(length)
        reader = HeldBlobReader(OpenBlob(file, SIZE), Outcome.HIT, pass_on=pass_on)
        exchange = Exchange(reader, send_all)
        await exchange.run()

    assert (exchange.body, exchange.failure) == (CONTENT, "")


@pytest.mark.parametrize(
    ("passed", "expected", "failure"),
    [
        ([CONTENT[-10:-4], CONTENT[-4:]], CONTENT[-10:], ""),
        (None, CONTENT[-10:], ""),
        ([UpstreamUnreachableError("gone", upstream="test")], CONTENT[-10:], ""),
        ([b"12345", UpstreamUnreachableError("gone", upstream="test")], b"12345", "gone"),
    ],
    ids=["passed", "no ranges", "fails before a byte", "fails behind some bytes"],
)
async def test_a_range_far_ahead(
    path: Path, passed: list[bytes | Exception] | None, expected: bytes, failure: str
) -> None:
    """From upstream if that works from the start, else from the file; a half one is broken off."""
    with path.open("rb") as file:
        exchange = Exchange(
            FarReader(OpenBlob(file, SIZE), Outcome.MISS, pass_on=nowhere), send_end
        )
        exchange.passed = passed
        await exchange.run()

    assert exchange.body == expected
    assert failure in exchange.failure
    assert bool(exchange.failure) is bool(failure)
