"""A forward proxy on loopback: CONNECT and absolute addresses, everything noted."""

import asyncio
import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ProxiedRequest:
    """What the proxy was asked, and with which Proxy-Authorization (empty: none)."""

    method: str
    target: str
    authorization: str


class ForwardProxy:
    """Use it as an async context manager.

    ``hosts`` says where names lead that no resolver knows; ``admits`` is the only
    Proxy-Authorization that is let through, None lets everybody.
    """

    def __init__(self, *, hosts: dict[str, str] | None = None, admits: str | None = None) -> None:
        self._hosts = hosts or {}
        self._admits = admits
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: list[ProxiedRequest] = []
        self.host = ""

    @property
    def url(self) -> str:
        """Address of the proxy."""
        return f"http://{self.host}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Who closes early is one of the cases under test.
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *headers = head.rstrip().split("\r\n")
        method, target, version = request.split(" ")
        fields = {name.lower(): value.strip() for name, _, value in _split(headers)}
        authorization = fields.get("proxy-authorization", "")
        self.requests.append(ProxiedRequest(method, target, authorization))
        if self._admits not in {None, authorization}:
            status = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            answer = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: 0\r\n\r\n"
            writer.write(answer.encode())
            return
        authority = target if method == "CONNECT" else urlsplit(target).netloc
        host, _, port = self._hosts.get(authority, authority).partition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(f"{version} 200 Connection established\r\n\r\n".encode())
        else:
            # One request for each connection, so that each of them is noted.
            kept = [line for line in headers if not line.lower().startswith("proxy-")]
            lines = [request, *kept, "Connection: close", "", ""]
            inner_writer.write("\r\n".join(lines).encode("latin-1"))
            answered = await inner_reader.readuntil(b"\r\n")
            writer.write(answered + b"Connection: close\r\n")
        await asyncio.gather(_relay(reader, inner_writer), _relay(inner_reader, writer))


def _split(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines]


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()
