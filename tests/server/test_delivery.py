"""Held blobs that are asked for again: sent from the file, without aiohttp, over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roadstead.oci.digest import Digest
from roadstead.telemetry.events import Kind, RequestEnded, RequestStarted, Served
from tests.server.wire import connected, head, turn
from tests.support.certificates import Authority
from tests.support.rig import APP, Rig, make_rig, read_all, serving

BLOB = Kind.BLOB
# More than the buffers of two sockets take.
LARGE = bytes(range(256)) * 4096 * 14
SMALL = b"layer" * 20_000


class Stage:
    """A served mirror, and how it is reached: by TLS or without."""

    def __init__(self, rig: Rig, context: ssl.SSLContext | None) -> None:
        self.rig = rig
        self.context = context

    async def know(self, content: bytes, *headers: str) -> tuple[bytes, Digest]:
        """Have a blob held, and its head known; return both."""
        digest = self.rig.upstream.add_blob(APP, content).digest
        await read_all(await self.rig.mirror.blob(APP, digest))
        await self.rig.landed()
        asked = head(f"/v2/{APP}/blobs/{digest}", *headers)
        async with connected(self.rig, context=self.context) as wire:
            assert (await wire.ask(asked))[1] == content
        await turn(self.rig, context=self.context)
        self.rig.events.clear()
        self.rig.exchanges.clear()
        return asked, digest

    async def told(self) -> list[tuple[int, int, str]]:
        """Return status, bytes and failure of each blob, on which metrics and log agree."""
        await turn(self.rig, context=self.context)
        events = self.rig.events
        started = [one for one in events if isinstance(one, RequestStarted) and one.handler == BLOB]
        ended = [one for one in events if isinstance(one, RequestEnded) and one.handler == BLOB]
        served = [one.sent_bytes for one in events if isinstance(one, Served)]
        logged = [one for one in self.rig.exchanges if one.digest]
        assert [(one.status, one.response_bytes) for one in ended] == [
            (one.status, one.written_bytes) for one in logged
        ]
        assert len(started) == len(ended)
        assert served == [one.response_bytes for one in ended]
        return [(one.status, one.written_bytes, one.error_message) for one in logged]


@pytest.fixture(params=["plain", "tls"])
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Give a mirror that is served plainly, and one by TLS."""
    server = client = None
    if request.param == "tls":
        authority = Authority(tmp_path)
        server = authority.issue("mirror").server_context()
        client = ssl.create_default_context(cafile=str(authority.certificate.file))
    async with (
        make_rig(tmp_path / "store") as rig,
        serving(rig, context=server, drain_seconds=0.2),
    ):
        yield Stage(rig, client)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_the_file_is_the_answer(stage: Stage, content: bytes) -> None:
    """Again and again on one connection, and metrics and logs hear of each."""
    asked, _ = await stage.know(content)
    async with connected(stage.rig, context=stage.context) as wire:
        answers = [await wire.ask(asked) for _ in range(3)]

    assert all(body == content for _, body in answers)
    assert all(b"X-Roadstead-Outcome: hit\r\n" in one for one, _ in answers)
    assert await stage.told() == [(200, len(content), "")] * 3


async def test_questions_about_parts_are_answered_between(stage: Stage) -> None:
    """HEAD, ranges and conditions on the same connection get what they always got."""
    asked, digest = await stage.know(SMALL)
    path = f"/v2/{APP}/blobs/{digest}"
    async with connected(stage.rig, context=stage.context) as wire:
        for _ in range(2):
            assert (await wire.ask(asked))[1] == SMALL
            size = (await wire.ask(head(path, method="HEAD")))[0]
            part = await wire.ask(head(path, "Range: bytes=5-9"))
            unchanged = await wire.ask(head(path, f'If-None-Match: "{digest}"'))
            assert f"\r\nContent-Length: {len(SMALL)}\r\n".encode() in size
            assert (part[0].split()[1], part[1]) == (b"206", SMALL[5:10])
            assert unchanged[0].split()[1] == b"304"


async def test_connection_that_shall_close_is_closed(stage: Stage) -> None:
    """After the last byte, as the client has asked."""
    asked, _ = await stage.know(SMALL, "Connection: close")
    async with connected(stage.rig, context=stage.context) as wire:
        assert (await wire.ask(asked))[1] == SMALL
        assert await wire.is_closed()


async def test_what_is_asked_meanwhile_is_answered_afterwards(stage: Stage) -> None:
    """Requests that come while a file is sent keep their order, known or not."""
    asked, _ = await stage.know(LARGE)
    async with connected(stage.rig, context=stage.context) as wire:
        wire.send(asked)
        await turn(stage.rig, context=stage.context)
        wire.send(head("/v2/none"), asked)
        statuses = []
        for _ in range(3):
            answer, body = await wire.answer()
            statuses.append((answer.split()[1], body == LARGE))

    assert statuses == [(b"200", True), (b"404", False), (b"200", True)]


async def test_client_that_leaves_is_told_of_and_lets_go(stage: Stage) -> None:
    """While it reads the blob is in use, so that nothing evicts it; afterwards it is not."""
    asked, digest = await stage.know(LARGE)
    async with connected(stage.rig, context=stage.context) as wire:
        wire.send(asked)
        await turn(stage.rig, context=stage.context)
        assert stage.rig.mirrors.is_in_use(digest)
        wire.leave()
    async with asyncio.timeout(20):
        while stage.rig.mirrors.is_in_use(digest):
            await turn(stage.rig, context=stage.context)
    left = [one for one in stage.rig.exchanges if one.error_message]

    assert [one.status for one in left] == [200]
    assert left[0].written_bytes < len(LARGE)
    assert "the client left" in left[0].error_message


async def test_what_the_file_no_longer_gives_comes_from_upstream(stage: Stage) -> None:
    """A blob that was damaged under the eyes of its reader arrives whole."""
    asked, digest = await stage.know(LARGE)
    async with connected(stage.rig, context=stage.context) as wire:
        wire.send(asked)
        await turn(stage.rig, context=stage.context)
        for path in stage.rig.root.glob(f"**/{digest.encoded}/data"):
            with path.open("rb+") as file:
                file.truncate(len(LARGE) - 1000)
        body = (await wire.answer())[1]

    assert body == LARGE
    assert stage.rig.upstream.blob_bytes_sent(digest) > len(LARGE)


async def test_blob_of_another_size_is_looked_at_anew(stage: Stage) -> None:
    """A file that changed since its head was known is not sent as it is."""
    asked, digest = await stage.know(SMALL)
    for path in stage.rig.root.glob(f"**/{digest.encoded}/data"):
        path.write_bytes(SMALL[:-1])
    async with connected(stage.rig, context=stage.context) as wire:
        answer, body = await wire.ask(asked)

    assert body == SMALL
    assert b"X-Roadstead-Outcome: miss\r\n" in answer


async def test_stop_waits_and_then_breaks_off(tmp_path: Path) -> None:
    """A client that does not read holds up the end for the drain time only."""
    async with make_rig(tmp_path) as rig:
        stage = Stage(rig, None)
        async with serving(rig, drain_seconds=0.1):
            asked, digest = await stage.know(LARGE)
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=1)
            writer.write(asked)
            await turn(rig)
        assert not rig.mirrors.is_in_use(digest)
        writer.transport.abort()
        assert not reader.at_eof()

    assert rig.exchanges[-1].status == 0
    assert rig.exchanges[-1].error_message == "the server is stopping"


@pytest.mark.parametrize("first", [False, True])
async def test_stop_lets_a_reader_finish(tmp_path: Path, *, first: bool) -> None:
    """What is being sent when the end is announced arrives whole, and then the connection ends.

    Whether or not the connection has brought another request before.
    """
    async with make_rig(tmp_path) as rig:
        stage = Stage(rig, None)
        async with serving(rig, drain_seconds=20):
            asked, _ = await stage.know(LARGE)
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            if first:
                writer.write(head("/v2/none", method="HEAD"))
                await reader.readuntil(b"\r\n\r\n")
            writer.write(asked)
            await turn(rig)
            await reader.readuntil(b"\r\n\r\n")
            reading = asyncio.create_task(reader.read(-1))
        async with asyncio.timeout(20):
            body = await reading
        writer.transport.abort()

    assert body == LARGE
