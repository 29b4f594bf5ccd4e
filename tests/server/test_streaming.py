"""Bodies over real sockets: growing files, slow and vanishing clients, broken fetches."""

import asyncio
from contextlib import suppress

import pytest

from roadstead.oci.digest import Digest
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.telemetry.events import Served
from tests.support.rig import APP, Rig

CONTENT = bytes(range(256)) * 16384  # 4 MiB
# More than the mirror waits for: such a range is passed through from upstream.
FAR = 16 * 1024 * 1024


class RawResponse:
    """What came over one connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: dict[str, str] = {}
        self.status = 0

    async def read_head(self) -> None:
        """Read status and headers."""
        status_line = await self.reader.readline()
        self.status = int(status_line.split()[1])
        while (line := (await self.reader.readline()).strip()) != b"":
            name, _, value = line.decode().partition(": ")
            self.headers[name] = value

    async def read_body(self) -> bytes:
        """Read up to the announced length, or what comes before the connection ends."""
        length = int(self.headers["Content-Length"])
        body = b""
        with suppress(ConnectionError):
            while len(body) < length and (chunk := await self.reader.read(65536)):
                body += chunk
        return body

    def close(self) -> None:
        """Hang up."""
        self.writer.transport.abort()


async def ask(rig: Rig, path: str, *headers: str, limit: int = 2**16) -> RawResponse:
    """Send a GET over a new connection and read the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=limit)
    lines = [f"GET {path} HTTP/1.1", "Host: mirror", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    response = RawResponse(reader, writer)
    await response.read_head()
    return response


async def test_bytes_flow_before_the_blob_is_complete(rig: Rig) -> None:
    """The first bytes are with the client while upstream still sends the rest."""
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Stall(after=2_000_000, release=release), kind=RequestKind.BLOB)

    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}")
    early = await response.reader.readexactly(1_500_000)
    release.set()
    late = await response.reader.readexactly(len(CONTENT) - len(early))

    assert early + late == CONTENT
    response.close()


async def test_one_client_leaves_and_one_stalls_and_nobody_suffers(rig: Rig) -> None:
    """Of twenty clients the first is killed and another never reads: eighteen are served.

    Source: zot 2416 and 4393, distribution 3.x (facts/failures.md 10).
    """
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Stall(after=100_000, release=release), kind=RequestKind.BLOB)
    path = f"/v2/{APP}/blobs/{blob.digest}"
    clients = [await ask(rig, path, limit=1024) for _ in range(20)]
    killed, stalled, *others = clients
    killed.close()
    release.set()

    bodies = await asyncio.gather(*(client.read_body() for client in others))

    assert {Digest.of(body) for body in bodies} == {blob.digest}
    await rig.landed()
    assert await rig.store.stat_blob(APP, blob.digest) == len(CONTENT)
    assert rig.upstream.blob_bytes_sent(blob.digest) == len(CONTENT)
    assert Digest.of(await stalled.read_body()) == blob.digest
    for client in clients:
        client.close()


@pytest.mark.parametrize("position", [0, None], ids=["first byte", "last byte"])
async def test_wrong_bytes_never_end_cleanly(rig: Rig, position: int | None) -> None:
    """The connection breaks before Content-Length is reached: containerd fails a clean one."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.WrongBytes(position), kind=RequestKind.BLOB)

    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}")
    body = await response.read_body()

    assert response.status == 200
    assert len(body) < len(CONTENT)
    await rig.landed()
    assert rig.files() == []
    response.close()


async def test_a_fetch_that_fails_for_good_breaks_the_connection_off(rig: Rig) -> None:
    """Upstream dies in the middle: a short body under the full length, never a short 200."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Cut(2_000_000), kind=RequestKind.BLOB, times=1)
    rig.upstream.inject(faults.Status(500), kind=RequestKind.BLOB, skip=1)

    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}")
    body = await response.read_body()

    assert body == CONTENT[: len(body)]
    assert len(body) < len(CONTENT)
    response.close()


async def test_an_unsized_blob_is_chunked_and_ends_only_if_right(rig: Rig) -> None:
    """Without a size the last chunk says that all is well; wrong bytes have no last chunk."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Unsized(chunked=True), kind=RequestKind.BLOB)
    wrong = rig.upstream.inject(faults.WrongBytes(), kind=RequestKind.BLOB, times=1)
    endings = []
    for _ in range(2):
        response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}", "Connection: close")
        assert response.headers["Transfer-Encoding"] == "chunked"
        raw = b""
        with suppress(ConnectionError):
            while chunk := await response.reader.read(65536):
                raw += chunk
        endings.append(raw.endswith(b"0\r\n\r\n"))
        response.close()
        await rig.landed()

    assert wrong.used == 1
    assert endings == [False, True]


async def test_a_range_behind_the_flight_is_served_from_it(rig: Rig) -> None:
    """What has arrived already is served, and no second question goes upstream."""
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Stall(after=1_000_000, release=release), kind=RequestKind.BLOB)
    first = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}")
    await first.reader.readexactly(900_000)

    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}", "Range: bytes=100-199")

    assert await response.read_body() == CONTENT[100:200]
    assert rig.upstream.count(kind=RequestKind.BLOB) == 1
    release.set()
    first.close()
    response.close()


async def test_a_range_far_ahead_of_the_flight_passes_through(rig: Rig) -> None:
    """Lazy pullers get the end of a large blob at once, while the whole blob is fetched."""
    release = asyncio.Event()
    content = CONTENT * 5
    blob = rig.upstream.add_blob(APP, content)
    rig.upstream.inject(faults.Stall(after=1000, release=release), kind=RequestKind.BLOB, times=1)

    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}", f"Range: bytes={FAR}-{FAR + 99}")

    assert response.status == 206
    assert await response.read_body() == content[FAR : FAR + 100]
    assert rig.upstream.count(kind=RequestKind.BLOB) == 2
    release.set()
    response.close()
    await rig.landed()
    assert await rig.store.stat_blob(APP, blob.digest) == len(content)


async def test_without_ranges_upstream_a_far_range_waits_for_the_flight(rig: Rig) -> None:
    """Where nothing can be passed through, the answer is right, if later."""
    content = CONTENT * 5
    blob = rig.upstream.add_blob(APP, content)
    rig.upstream.inject(faults.WithoutRange(), kind=RequestKind.BLOB)

    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}", f"Range: bytes={FAR}-{FAR + 99}")

    assert await response.read_body() == content[FAR : FAR + 100]
    response.close()


async def test_requests_in_a_row_share_a_connection(rig: Rig) -> None:
    """After a blob, a part of it and an error the connection is as good as new."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    path = f"/v2/{APP}/blobs/{blob.digest}"
    response = await ask(rig, path)
    assert await response.read_body() == CONTENT
    for request, length in (("Range: bytes=1-5", 5), ("Range: bytes=99999999-", None)):
        response.writer.write(f"GET {path} HTTP/1.1\r\nHost: m\r\n{request}\r\n\r\n".encode())
        await response.read_head()
        body = await response.read_body()
        assert length is None or body == CONTENT[1:6]
    response.close()


async def test_what_was_sent_is_counted(rig: Rig) -> None:
    """The bytes of a part are the bytes that went out, and the request logs agree."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    response = await ask(rig, f"/v2/{APP}/blobs/{blob.digest}", "Range: bytes=0-99999")
    await response.read_body()
    response.close()
    await rig.landed()

    (served,) = [event for event in rig.events if isinstance(event, Served)]
    assert (served.size_bytes, served.sent_bytes) == (len(CONTENT), 100_000)
    assert [exchange.written_bytes for exchange in rig.exchanges] == [100_000]
