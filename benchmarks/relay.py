"""A slow network on loopback: relays TCP with a round trip, a rate per connection, and cuts.

Not every kernel has netem, and what it shapes is the whole interface. A program of its own:
``python -m benchmarks.relay --port 7000 --target 8000 --round-trip 0.08 --rate 20e6``. What it
does not play is TCP itself: the slow start of a connection, and what a lost packet costs.
"""

import argparse
import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_PIECE_BYTES = 64 * 1024
# What may be under way in one direction beyond rate times delay, as in a socket's buffers.
_SLACK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the network is like.

    ``rate`` is in bytes per second, for each connection and direction; 0 is no limit. Each time
    another ``cut_every_bytes`` have come from the target, over all connections, the connection
    that brought them is reset; 0 is never.
    """

    round_trip_seconds: float = 0.0
    rate: float = 0.0
    cut_every_bytes: int = 0


class Relay:
    """Use it as an async context manager."""

    def __init__(self, target_port: int, shape: Shape, *, port: int = 0) -> None:
        """Relay ``port`` (0: any that is free) to ``target_port``, both of loopback."""
        self._target_port = target_port
        self._shape = shape
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = port
        self.relayed_bytes = 0
        self.connections = 0
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=_PIECE_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: asyncio would report the cancellation of its task as an error.
        task = asyncio.create_task(self._relay(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # The client believes that it is connected: the round trip of that is still to come.
        await asyncio.sleep(self._shape.round_trip_seconds)
        try:
            inner_reader, inner_writer = await asyncio.open_connection(
                "127.0.0.1", self._target_port, limit=_PIECE_BYTES
            )
        except OSError:
            _reset(writer)
            return
        up = asyncio.create_task(_Direction(self._shape).carry(reader, inner_writer))
        try:
            await _Direction(self._shape, self._is_cut).carry(inner_reader, writer)
        except ConnectionError:
            _reset(writer)
        finally:
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
            inner_writer.transport.abort()
            writer.close()
            for one in (inner_writer, writer):
                with contextlib.suppress(ConnectionError):
                    await one.wait_closed()

    def _is_cut(self, count: int) -> bool:
        """Count what came from the target; say whether this connection ends with it."""
        every = self._shape.cut_every_bytes
        before = self.relayed_bytes
        self.relayed_bytes += count
        is_cut = bool(every) and before // every < self.relayed_bytes // every
        self.cuts += is_cut
        return is_cut


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a broken network does, and not as a sender that has said all."""
    at_once = struct.pack("ii", 1, 0)
    # It may be closed already.
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


class _Direction:
    """One way through the network: each piece arrives when its bytes have had their time."""

    def __init__(self, shape: Shape, is_cut: Callable[[int], bool] = lambda _count: False) -> None:
        self._shape = shape
        self._is_cut = is_cut
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._under_way_bytes = 0
        self._limit_bytes = _SLACK_BYTES + int(shape.rate * shape.round_trip_seconds)
        self._line_is_free_at = 0.0
        self._news = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay until the sender has said all.

        Raises:
            ConnectionError: the connection broke, or was cut.
        """
        arriving = asyncio.create_task(self._deliver(writer))
        try:
            while not arriving.done() and (piece := await reader.read(_PIECE_BYTES)):
                self._send(piece)
                if self._is_cut(len(piece)):
                    message = "cut"
                    raise ConnectionResetError(message)
                while self._under_way_bytes > self._limit_bytes and not arriving.done():
                    self._news.clear()
                    await self._news.wait()
            self._send(b"")
            await arriving
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    def _send(self, piece: bytes) -> None:
        now = self._loop.time()
        seconds = len(piece) / self._shape.rate if self._shape.rate else 0.0
        self._line_is_free_at = max(now, self._line_is_free_at) + seconds
        due = self._line_is_free_at + self._shape.round_trip_seconds / 2
        self._under_way.append((due, piece))
        self._under_way_bytes += len(piece)
        self._news.set()

    async def _deliver(self, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                while not self._under_way:
                    self._news.clear()
                    await self._news.wait()
                due, piece = self._under_way[0]
                await asyncio.sleep(due - self._loop.time())
                if not piece:
                    return
                writer.write(piece)
                await writer.drain()
                self._under_way.popleft()
                self._under_way_bytes -= len(piece)
                self._news.set()
        finally:
            # Whoever waits for room must hear of the end too.
            self._under_way_bytes = 0
            self._news.set()


async def _run(options: argparse.Namespace) -> None:
    shape = Shape(
        round_trip_seconds=options.round_trip,
        rate=options.rate,
        cut_every_bytes=int(options.cut_every),
    )
    async with Relay(options.target, shape, port=options.port) as relay:
        print(f"relaying port {relay.port} to {options.target}: {shape}", flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--target", type=int, required=True, help="port of loopback")
    parser.add_argument("--round-trip", type=float, default=0.08, help="seconds")
    parser.add_argument("--rate", type=float, default=20e6, help="bytes per second, 0: no limit")
    parser.add_argument("--cut-every", type=float, default=0, help="bytes, 0: never")
    asyncio.run(_run(parser.parse_args()))
