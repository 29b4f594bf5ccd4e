"""What clients may take: counted exactly, and never at the cost of others."""

import asyncio
import contextlib
import resource
import socket
from asyncio import BaseTransport
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web

from roadstead.server.access.networks import Networks
from roadstead.server.connection import RequestHandler
from roadstead.server.limits import Guard, LimitRules, connections_for, raise_descriptor_limit
from roadstead.server.listener import Listener
from roadstead.telemetry.events import Event, Observer, Refusal, Refused, ignore
from tests.support.clock import Clock

REFUSED = b"HTTP/1.0 400 Bad Request\r\n"
SECRET = "planted-in-a-broken-request"


class Peer(BaseTransport):
    """A transport that knows its peer only."""

    def __init__(self, host: str) -> None:
        super().__init__({"peername": (host, 4711)})


class Wire:
    """A connection that remembers whether it was closed."""

    def __init__(self, idle_since: float | None) -> None:
        self.idle_since = idle_since
        self.aborted = False

    def abort(self) -> None:
        """Note it."""
        self.aborted = True


def open_one(
    guard: Guard, host: str = "192.0.2.1", *, idle_since: float | None = 0.0
) -> Wire | None:
    """Open a connection; None if it is refused."""
    wire = Wire(idle_since)
    return wire if guard.opened(wire, Peer(host)) else None


def test_one_client_has_its_share() -> None:
    """More connections of one address are refused, others' are not."""
    told: list[Event] = []
    guard = Guard(LimitRules(connections=8, per_client=2), observe=told.append)
    mine = [open_one(guard) for _ in range(3)]

    assert [wire is not None for wire in mine] == [True, True, False]
    assert open_one(guard, "192.0.2.2") is not None
    assert mine[0] is not None
    guard.closed(mine[0])
    guard.closed(mine[0])
    assert open_one(guard) is not None
    assert guard.open_connections == 3
    assert told == [Refused(Refusal.CLIENT_CONNECTIONS)]


def test_a_client_of_ipv6_is_its_network() -> None:
    """A /64 has one share, however many addresses it uses."""
    guard = Guard(LimitRules(connections=8, per_client=1))

    assert open_one(guard, "2001:db8::1") is not None
    assert open_one(guard, "2001:db8::2") is None
    assert open_one(guard, "2001:db8:0:1::1") is not None


def test_a_trusted_proxy_has_no_share() -> None:
    """It brings the connections of all its clients."""
    rules = LimitRules(connections=8, per_client=1)
    guard = Guard(rules, trusted_proxies=Networks.parse(["10.0.0.1"]))

    assert all(open_one(guard, "10.0.0.1") for _ in range(5))


def test_by_default_one_address_may_have_most() -> None:
    """A build farm behind one address never notices, and others still find a place."""
    guard = Guard(LimitRules(connections=1000))

    assert sum(open_one(guard) is not None for _ in range(1000)) == 750
    assert all(open_one(guard, "192.0.2.2") for _ in range(250))


def test_who_is_idle_for_longest_makes_room() -> None:
    """Full is full only when every connection has a request under way."""
    told: list[Event] = []
    guard = Guard(LimitRules(connections=3), observe=told.append)
    wires = [
        open_one(guard, f"192.0.2.{number}", idle_since=since)
        for number, since in enumerate((None, 7.0, 5.0, None, None, None))
    ]

    assert [wire is not None for wire in wires] == [True, True, True, True, True, False]
    assert [wire.aborted for wire in wires if wire] == [False, True, True, False, False]
    assert guard.open_connections == 3
    assert told == [Refused(Refusal.CONNECTIONS)]


def test_requests_are_counted_over_time() -> None:
    """A pull may ask many things at once; who goes on like that is told to wait."""
    clock = Clock()
    told: list[Event] = []
    rules = LimitRules(connections=8, requests_per_second=2)
    guard = Guard(rules, observe=told.append, clock=clock)

    assert sum(guard.may_ask(None) for _ in range(100)) == 20
    clock.advance(5.0)
    assert sum(guard.may_ask(None) for _ in range(100)) == 10
    assert told == [Refused(Refusal.CLIENT_RATE)] * 170


def test_descriptors_decide_how_many_connections() -> None:
    """Two for each, some for the rest of the program, and no more than memory is for."""
    assert connections_for(1024) == 256
    assert connections_for(20_000) == 9744
    assert connections_for(1 << 20) == connections_for(resource.RLIM_INFINITY) == 16_384
    assert connections_for(10) == 64


def test_the_process_may_have_what_the_system_lets_it_have() -> None:
    """The soft limit goes up to the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
        raised = raise_descriptor_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _hello(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


@contextlib.asynccontextmanager
async def listening(
    handler: RequestHandler = _hello,
    observe: Observer = ignore,
    **rules: Any,  # noqa: ANN401 - those of LimitRules
) -> AsyncIterator[tuple[int, Guard]]:
    """Serve under limits; give the port and the guard."""
    guard = Guard(LimitRules(**rules), observe=observe)
    listener = Listener(handler, drain_seconds=0.1, guard=guard)
    port = await listener.listen_tcp("127.0.0.1", 0)
    try:
        yield port, guard
    finally:
        await listener.aclose()


async def exchange(port: int, text: bytes) -> bytes:
    """Send bytes, and return all that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


def request(path: str = "/", *headers: str) -> bytes:
    """Write a request."""
    lines = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
    return "\r\n".join(lines).encode()


async def test_large_headers_are_refused() -> None:
    """One line, one field, many fields: nothing grows beyond its limit."""
    async with listening(header_bytes=16_384) as (port, guard):
        fine = await exchange(port, request("/" + "a" * 4000, "X: " + "b" * 8000))
        assert fine.startswith(b"HTTP/1.1 200")
        for text in (
            request("/" + "a" * 9000),
            request("/", "X: " + "b" * 20_000),
            request("/", *(f"X-{number}: {'c' * 8000}" for number in range(120))),
            request("/", *(f"X-{number}: c" for number in range(1000))),
            b"G" * 200_000,
        ):
            answer = await exchange(port, text)
            assert answer in (b"", b"reset") or answer.startswith(REFUSED), answer[:80]
        assert (await exchange(port, request())).startswith(b"HTTP/1.1 200")
        assert guard.open_connections <= 1


async def test_headers_that_drip_are_not_waited_for() -> None:
    """Sending a little now and then keeps no connection open beyond the time for a request."""
    async with listening(idle_seconds=0.3) as (port, guard):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                writer.write(b"GET / HTTP/1.1\r\n")
                while not writer.is_closing():
                    writer.write(b"X: y\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        dripping.cancel()
        writer.close()
        assert guard.open_connections == 0


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
async def test_a_reader_that_takes_nothing_is_let_go() -> None:
    """One that is only slow is not; both are served at the same time."""
    size = 12_000_000
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def send(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        try:
            for _ in range(size // 100_000):
                await response.write(bytes(100_000))
        except ConnectionError:
            ended.put_nowait(request.path)
        return response

    async with listening(send, stall_seconds=0.6) as (port, _):
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)  # noqa: FBT003 - the method of a socket
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, ("127.0.0.1", port))
        await loop.sock_sendall(stalled, request("/stalled"))
        async with ClientSession() as client:
            async with client.get(f"http://127.0.0.1:{port}/slow") as response:
                received = 0
                while chunk := await response.content.read(600_000):
                    received += len(chunk)
                    await asyncio.sleep(0.05)
            assert received == size
        async with asyncio.timeout(20):
            assert await ended.get() == "/stalled"
        stalled.close()


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET}\x00\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {SECRET}\r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\n X: folded\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_short_answer(
    text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a traceback in the log, and without its own words, there or in the answer."""
    caplog.set_level("DEBUG")
    async with listening(idle_seconds=0.3) as (port, _):
        answer = await exchange(port, text)

    assert answer in (b"", b"reset") or answer.startswith(REFUSED), answer
    assert b"aiohttp" not in answer
    assert SECRET.encode() not in answer
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_too_many_requests_are_told_to_wait() -> None:
    """With the code of the spec, and a wait that is short for clients that sleep."""
    told: list[Event] = []
    async with listening(requests_per_second=0.1, observe=told.append) as (port, _):
        answers = [await exchange(port, request()) for _ in range(2)]

    assert answers[0].startswith(b"HTTP/1.1 200")
    assert answers[1].startswith(b"HTTP/1.1 429")
    assert b"Retry-After: 1" in answers[1]
    assert told == [Refused(Refusal.CLIENT_RATE)]


async def test_a_client_over_its_share_finds_the_door_shut() -> None:
    """Its other connections go on."""
    async with listening(per_client=1) as (port, _), ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
            assert await exchange(port, request()) in (b"", b"reset")
        async with client.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
