"""HTTP/1.1 by hand: a server that may lie in every byte needs to own every byte.

No framework stands between a scripted fault and the socket, so that a body can be cut, reset,
stalled, mislabelled or sent at a chosen speed.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Protocol, TypeAlias
from urllib.parse import parse_qs, urlsplit

from roadstead.simulator.content import BytesContent, Content

_MAX_HEAD_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_EMPTY = BytesContent(b"")

Sleep: TypeAlias = Callable[[float], Awaitable[None]]
"""Waits for some seconds; ``asyncio.sleep`` fits."""


class Framing(Enum):
    """How the end of a body is marked."""

    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "the connection closes"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it was read; header names are in lower case, repeated ones joined."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Reply:
    """An answer, and how badly it is to be given.

    ``start`` and ``length`` choose the part of ``content`` that is sent. ``cut_after`` and
    ``stall_after`` count bytes of the body; ``release`` ends a stall, without it a stall lasts
    until the connection or the server ends.
    """

    status: int = HTTPStatus.OK
    headers: list[tuple[str, str]] = field(default_factory=list)
    content: Content = _EMPTY
    start: int = 0
    length: int = 0
    framing: Framing = Framing.LENGTH
    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    cut_after: int | None = None
    reset: bool = False
    hang_up_before_headers: bool = False
    stall_before_headers: bool = False
    stall_after: int | None = None
    release: asyncio.Event | None = None

    def get(self, name: str) -> str | None:
        """Return the first header of that name."""
        lowered = name.lower()
        return next((value for key, value in self.headers if key.lower() == lowered), None)

    def drop(self, name: str) -> None:
        """Remove every header of that name."""
        lowered = name.lower()
        self.headers = [item for item in self.headers if item[0].lower() != lowered]

    def set(self, name: str, value: str) -> None:
        """Put one header in place of all of that name."""
        self.drop(name)
        self.headers.append((name, value))

    def fill(self, content: bytes, content_type: str) -> None:
        """Make ``content`` the whole body."""
        self.content, self.start, self.length = BytesContent(content), 0, len(content)
        self.set("Content-Type", content_type)


class Ledger(Protocol):
    """Is told what becomes of one reply."""

    def count_sent(self, count: int, /) -> None:
        """Add body bytes that went out."""

    def end(self) -> None:
        """The reply is over: sent, broken off, or of no interest to the client any more."""


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """Read one request; None at the end of the connection or where it is no HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, _version = lines[0].split(" ")
    except ValueError:
        return None
    headers: dict[str, str] = {}
    for line in filter(None, lines[1:]):
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    try:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None
    # A forward proxy is asked with the whole URL; the path alone matters here.
    parts = urlsplit(target)
    return HttpRequest(
        method, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body
    )


class ReplyWriter:
    """Puts replies on one connection, with all their faults."""

    def __init__(self, writer: asyncio.StreamWriter, *, gate: asyncio.Event, sleep: Sleep) -> None:
        """Write to ``writer`` while ``gate`` is set; every piece waits for it."""
        self._writer = writer
        self._gate = gate
        self._sleep = sleep

    async def send(self, request: HttpRequest, reply: Reply, sent: Callable[[int], None]) -> bool:
        """Send a reply, tell ``sent`` the size of every piece; whether the connection lives on."""
        await self._sleep(reply.latency_seconds)
        if reply.stall_before_headers:
            await _wait(reply.release)
        await self._gate.wait()
        if reply.hang_up_before_headers:
            self._hang_up(reset=reply.reset)
            return False
        bodiless = is_bodiless(request, reply)
        self._writer.write(_head(reply, bodiless=bodiless))
        if not bodiless:
            complete = await self._send_body(reply, sent)
            if not complete or reply.framing is Framing.CLOSE:
                self._hang_up(reset=reply.reset and not complete)
                return False
        await self._writer.drain()
        return request.headers.get("connection", "").lower() != "close"

    async def _send_body(self, reply: Reply, sent: Callable[[int], None]) -> bool:
        offset, end = 0, reply.length
        stops = sorted({stop for stop in (reply.cut_after, reply.stall_after) if stop is not None})
        while True:
            if offset == reply.stall_after:
                await self._writer.drain()
                await _wait(reply.release)
            if offset == reply.cut_after:
                await self._writer.drain()
                return False
            if offset >= end:
                break
            step = min([end, offset + _PIECE_BYTES, *(stop for stop in stops if stop > offset)])
            await self._send_piece(reply, offset, step - offset)
            sent(step - offset)
            offset = step
        if reply.framing is Framing.CHUNKED:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return True

    async def _send_piece(self, reply: Reply, offset: int, count: int) -> None:
        await self._gate.wait()
        piece = reply.content.read(reply.start + offset, count)
        if reply.framing is Framing.CHUNKED:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        self._writer.write(piece)
        await self._writer.drain()
        if reply.bytes_per_second is not None:
            await self._sleep(count / reply.bytes_per_second)

    def _hang_up(self, *, reset: bool) -> None:
        if not reset:
            self._writer.close()
            return
        raw: socket.socket = self._writer.get_extra_info("socket")
        # Lingering for zero seconds turns the close into a RST.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def is_bodiless(request: HttpRequest, reply: Reply) -> bool:
    """Say whether no body follows the headers, whatever its length is said to be."""
    no_content = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    return request.method == "HEAD" or reply.status in no_content


async def _wait(release: asyncio.Event | None) -> None:
    await (release or asyncio.Event()).wait()


def _head(reply: Reply, *, bodiless: bool) -> bytes:
    headers = list(reply.headers)
    if reply.framing is Framing.CHUNKED and not bodiless:
        headers.append(("Transfer-Encoding", "chunked"))
    elif reply.framing is Framing.LENGTH and reply.get("Content-Length") is None:
        headers.append(("Content-Length", str(reply.length)))
    if reply.framing is Framing.CLOSE and not bodiless:
        headers.append(("Connection", "close"))
    phrase = HTTPStatus(reply.status).phrase
    lines = [f"HTTP/1.1 {int(reply.status)} {phrase}", *(f"{k}: {v}" for k, v in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def serve_connection(
    reader: asyncio.StreamReader,
    writer: ReplyWriter,
    answer: Callable[[HttpRequest], tuple[Reply, Ledger]],
) -> None:
    """Answer requests on one connection until either side ends it."""
    alive = True
    while alive:
        request = await read_request(reader)
        if request is None:
            return
        reply, ledger = answer(request)
        try:
            alive = await writer.send(request, reply, ledger.count_sent)
        except ConnectionError:
            return
        finally:
            ledger.end()
