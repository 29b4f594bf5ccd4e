"""The slow network: what arrives is what was sent, no sooner than its shape allows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks.relay import Relay, Shape

_BODY = bytes(range(256)) * 1024


async def _send_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readexactly(1)
        writer.write(_BODY)
        await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def _relayed(shape: Shape) -> AsyncIterator[Relay]:
    answering: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        await _send_body(reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        async with Relay(server.sockets[0].getsockname()[1], shape) as relay:
            yield relay
    finally:
        server.close()
        await asyncio.gather(*[task for task in answering if task is not None])


async def _pull(relay: Relay) -> tuple[bytes, float]:
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    try:
        writer.write(b"?")
        return await reader.read(-1), time.perf_counter() - started
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_relays_what_was_sent() -> None:
    """Without a shape it is a wire."""
    async with _relayed(Shape()) as relay:
        body, _ = await _pull(relay)

    assert body == _BODY
    assert (relay.connections, relay.relayed_bytes, relay.cuts) == (1, len(_BODY), 0)


async def test_bytes_take_their_time() -> None:
    """An exchange on a new connection takes two round trips, and its bytes at their rate."""
    async with _relayed(Shape(round_trip_seconds=0.02, rate=len(_BODY) / 0.1)) as relay:
        body, seconds = await _pull(relay)

    assert body == _BODY
    assert seconds >= 0.1 + 2 * 0.02


async def test_connections_do_not_share_their_rate() -> None:
    """Two connections bring twice as much in the same time, but for what the machine costs."""
    async with _relayed(Shape(rate=len(_BODY) / 0.4)) as relay:
        started = time.perf_counter()
        pulled = await asyncio.gather(_pull(relay), _pull(relay))
        seconds = time.perf_counter() - started

    assert [body for body, _ in pulled] == [_BODY] * 2
    assert seconds < 0.75


async def test_cuts_a_connection_now_and_then() -> None:
    """The connection that brings the byte of the cut is reset, the next one goes on."""
    async with _relayed(Shape(cut_every_bytes=len(_BODY) * 3 // 2)) as relay:
        body, _ = await _pull(relay)
        with pytest.raises(ConnectionResetError):
            await _pull(relay)
        again, _ = await _pull(relay)

    assert (body, again, relay.cuts) == (_BODY, _BODY, 1)


async def test_a_target_that_is_away_is_a_reset() -> None:
    """No answer is made up."""
    server = await asyncio.start_server(_send_body, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with Relay(port, Shape()) as relay:
        with pytest.raises(ConnectionResetError):
            await _pull(relay)
